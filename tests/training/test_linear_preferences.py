"""The linear fit finds planted weights, generalises over prompts, and is the minimum of its convex loss."""

from __future__ import annotations

import torch

from posttrain.core.preferences import floor, logistic
from posttrain.training.linear_preferences import RIDGES, fit_linear


def planted(rows: int, width: int, informative: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    scale = 10.0 ** torch.arange(width).remainder(3)  # features of very different sizes
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64) * scale
    truth = torch.zeros(width, dtype=torch.float64)
    truth[:informative] = 2.0 / scale[:informative]
    return x, torch.sigmoid(x @ truth), truth


def test_planted_log_odds_are_found_whatever_the_scale_of_a_feature() -> None:
    x, c, truth = planted(600, 12, 3)
    weights, ridge = fit_linear(x, c, list(range(len(x))))
    assert ridge == min(RIDGES)  # there is no noise
    fitted, planted_weights = weights.double() * x.std(0), truth * x.std(0)
    cosine = torch.nn.functional.cosine_similarity(fitted, planted_weights, dim=0)
    assert float(cosine) > 0.999
    assert 0.6 < float(fitted.norm() / planted_weights.norm()) < 1.0  # the ridge shrinks


def test_it_is_the_minimum_of_the_loss() -> None:
    x, c, _ = planted(80, 6, 2)
    weights, ridge = fit_linear(x, c, list(range(len(x))))
    scale = x.square().mean(0).sqrt()
    w = (weights.double() * scale).requires_grad_()
    loss = logistic((x / scale) @ w, c).mean() + ridge * w.square().sum() / 2
    (gradient,) = torch.autograd.grad(loss, w)
    assert float(gradient.abs().max()) < 1e-6


def test_more_noise_than_signal_asks_for_a_larger_ridge() -> None:
    x, c, _ = planted(60, 40, 1)
    coin = torch.rand(60, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    _, ridge = fit_linear(x, torch.where(coin < c, 0.9, 0.1).double(), [n // 3 for n in range(60)])
    assert ridge > min(RIDGES)


def test_a_feature_that_never_differs_has_no_weight() -> None:
    x, c, _ = planted(50, 4, 2)
    x[:, 3] = 0.0
    weights, _ = fit_linear(x, c, list(range(len(x))))
    assert weights[3] == 0.0
    assert bool(weights.isfinite().all())


def test_the_floor_is_the_loss_of_who_is_as_sure_as_the_votes() -> None:
    confidence = torch.tensor([0.5, 0.7, 0.9, 1.0], dtype=torch.float64)
    best = torch.logit(confidence.clamp(max=1 - 1e-12))
    torch.testing.assert_close(floor(confidence), logistic(best, confidence), rtol=0, atol=1e-9)
    away = torch.linspace(-4, 4, 33, dtype=torch.float64)
    assert bool((logistic(away[:, None], confidence) >= floor(confidence) - 1e-12).all())
