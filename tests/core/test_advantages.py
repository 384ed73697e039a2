from __future__ import annotations

import pytest
import torch

from posttrain.core.advantages import explained_variance, gae, whiten

torch.manual_seed(0)


def by_definition(
    rewards: list[float], values: list[float], after: float, gamma: float, lam: float
) -> list[float]:
    """The double sum of the paper, written out."""
    following = [*values[1:], after]
    deltas = [r + gamma * w - v for r, v, w in zip(rewards, values, following, strict=True)]
    return [
        sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, len(deltas))) for t in range(len(deltas))
    ]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_gae_is_the_sum_of_its_definition(gamma: float, lam: float) -> None:
    r, v = torch.randn(2, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    bootstrap, truncated = torch.tensor([5.0, 7.0], dtype=torch.float64), torch.tensor([True, False])
    mask = torch.ones(2, 6, dtype=torch.bool)
    got = gae(r, v, mask, gamma=gamma, gae_lambda=lam, truncated=truncated, bootstrap=bootstrap)
    for row, after in ((0, 5.0), (1, 0.0)):
        want = by_definition(r[row].tolist(), v[row].tolist(), after, gamma, lam)
        assert got[row].tolist() == pytest.approx(want, rel=1e-12)


def test_gae_skips_what_was_not_chosen_bitwise() -> None:
    r, v = torch.randn(1, 4), torch.randn(1, 4)
    dense = gae(r, v, torch.ones(1, 4, dtype=torch.bool), gamma=0.9, gae_lambda=0.8)
    places = torch.tensor([1, 3, 4, 7])  # a prompt before, a tool's output and padding between and after
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[:, places] = True
    wide_r, wide_v = torch.full((1, 9), float("nan")), torch.full((1, 9), float("nan"))
    wide_r[:, places], wide_v[:, places] = r, v
    sparse = gae(wide_r, wide_v, mask, gamma=0.9, gae_lambda=0.8)
    assert torch.equal(sparse[:, places], dense)
    assert not sparse[~mask].any()


def test_with_lambda_one_it_is_the_return_less_the_value() -> None:
    r, v = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    got = gae(r, v, torch.ones(3, 5, dtype=torch.bool), gamma=1.0, gae_lambda=1.0)
    to_go = r.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(got, to_go - v)


def test_whitening_is_mean_zero_and_deviation_one_over_chosen_steps() -> None:
    x, mask = torch.randn(4, 7) * 3 + 5, torch.rand(4, 7) > 0.4
    out = whiten(x.masked_fill(~mask, float("nan")), mask)
    assert out[mask].mean().abs() < 1e-6
    assert (out[mask].std(correction=0) - 1).abs() < 1e-6
    assert not out[~mask].any()


def test_whitening_follows_neither_order_nor_padding() -> None:
    x, mask = torch.randn(4, 7) * 3 + 5, torch.rand(4, 7) > 0.4
    order = torch.tensor([2, 0, 3, 1])
    pad = torch.full((4, 5), float("nan"))
    wide_x, wide_mask = torch.cat([pad, x, pad], 1), torch.cat([pad > 0, mask, pad > 0], 1)
    assert torch.allclose(whiten(x, mask)[order], whiten(x[order], mask[order]), rtol=1e-7, atol=0)
    assert torch.allclose(whiten(x, mask), whiten(wide_x, wide_mask)[:, 5:12], rtol=1e-7, atol=0)


def test_whitening_what_does_not_vary_is_zero() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert not whiten(torch.full((2, 3), 0.1), mask).abs().gt(1e-6).any()


def test_explained_variance() -> None:
    returns, mask = torch.randn(3, 5), torch.rand(3, 5) > 0.3
    assert explained_variance(returns.masked_fill(~mask, float("nan")), returns, mask) == 1
    assert explained_variance(torch.zeros(3, 5), returns, mask).abs() < 1e-12
    assert explained_variance(-returns, returns, mask) < 0
    assert explained_variance(returns, torch.ones(3, 5), mask).isnan()
