"""The best of n answers against its distribution, and draws that stand for expectations."""

from __future__ import annotations

import pytest
import torch

from posttrain.core.kl import best_of_n
from tests.oracle.prompts import WIDE, Tabular, World, drawn, groups_of

WORLD = World()


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_best_of_n_has_its_distribution_and_its_kl(n: int) -> None:
    """The best of n of many answers, each with a score of its own: the bound is nearly reached, never
    passed."""
    g = torch.Generator().manual_seed(0)
    log_q = torch.randn(4000, generator=g, dtype=WIDE).log_softmax(0)
    below = log_q.exp().cumsum(0)  # in the order of their scores
    p = below**n - (below - log_q.exp()).clamp(min=0) ** n
    kl = float((p * ((p / log_q.exp()).log())).nansum())
    assert float(p.sum()) == pytest.approx(1)
    assert kl <= best_of_n(n) + 1e-12
    assert kl == pytest.approx(best_of_n(n), rel=0.02, abs=1e-12)
    tied = torch.tensor([0.5, 0.5], dtype=WIDE)
    of_two = torch.stack([tied[0] ** n, 1 - tied[0] ** n])
    assert float((of_two * (of_two / tied).log()).nansum()) <= best_of_n(n) + 1e-12


def test_best_of_two_by_enumeration() -> None:
    """All groups of two with their probabilities, the better one kept: the closed form."""
    policy = Tabular(WORLD, 1)
    log_p, reward = WORLD.logprobs(policy).detach()[0], WORLD.rewards[0]
    sets, likely = groups_of(log_p, 2)
    assert float(likely.sum()) == pytest.approx(1)
    earned = (likely * reward[sets].amax(1)).sum()
    order = reward.argsort()
    below = log_p.exp()[order].cumsum(0)
    p = below**2 - (below - log_p.exp()[order]).clamp(min=0) ** 2
    assert float(earned) == pytest.approx(float((p * reward[order]).sum()))


def test_even_draws_are_right_on_average() -> None:
    p = torch.tensor([0.05, 0.2, 0.75], dtype=WIDE)
    total = sum(drawn(p, 7, offset / 100).bincount(minlength=3) for offset in range(100))
    torch.testing.assert_close((total / 700).to(WIDE), p, atol=2e-3, rtol=0)  # type: ignore[operator]
