from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, RewardLoss
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.reward_losses.plackett_luce import PlackettLuce
from tests.reward_losses.said import said, scores


def total(loss: RewardLoss, totals: Tensor, past: PreferenceBatch) -> tuple[Tensor, Tensor]:
    totals = totals.clone().requires_grad_()
    terms = loss.loss(scores(totals), past)
    value = sum((t.reduction(past) * t.values).sum() * t.coef for t in terms.values() if t.coef)
    return value.detach(), torch.autograd.grad(value, totals)[0]  # type: ignore[union-attr, arg-type]


def test_with_two_rows_it_is_bradley_terry() -> None:
    generator = torch.Generator().manual_seed(0)
    totals = torch.randn(14, generator=generator, dtype=torch.float64) * 3
    rank = [0, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0, -1, 0, 1]  # one tie, one row that is only measured
    group = [g for g in range(7) for _ in range(2)]
    sure = (0.6 + 0.4 * torch.rand(7, generator=generator, dtype=torch.float64)).repeat_interleave(2)
    past = said(rank, group, confidence=sure)
    for coef in (0.0, 0.2):
        one, other = (
            total(kind(center_coef=coef), totals, past)  # type: ignore[operator]
            for kind in (BradleyTerry, PlackettLuce)
        )
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-7)


def test_bradley_terry_is_ranknet() -> None:
    """Burges et al. 2005, eq. 3: C = -P o + log(1 + e^o), with its gradient s(o) - P."""
    totals = torch.tensor([2.0, -1.0, 0.3, 0.5, -4.0, 3.0], dtype=torch.float64)
    sure = torch.tensor([0.9, 0.9, 1.0, 1.0, 0.7, 0.7], dtype=torch.float64)
    value, grad = total(
        BradleyTerry(center_coef=0), totals, said([0, 1] * 3, [0, 0, 1, 1, 2, 2], confidence=sure)
    )
    o, p = totals[::2] - totals[1::2], sure[::2]
    assert float(value) == pytest.approx(float((-p * o + torch.log(1 + o.exp())).mean()), abs=1e-7)
    slope = (1 / (1 + (-o).exp()) - p) / 3
    torch.testing.assert_close(grad, torch.stack([slope, -slope], 1).flatten(), atol=1e-7, rtol=0)


def rankings(strength: Tensor) -> tuple[PreferenceBatch, Tensor]:
    """Every ranking of the answers as a group of its own, and how likely it is to be drawn, [B]."""
    orders = list(itertools.permutations(range(len(strength))))
    often = []
    for order in orders:
        p, left = 1.0, list(order)
        for one in order:
            p *= float(strength[one].exp() / strength[left].exp().sum())
            left.remove(one)
        often.append(p)
    rank = [order.index(i) for order in orders for i in range(len(strength))]
    group = [g for g in range(len(orders)) for _ in strength]
    return said(rank, group), torch.tensor(often, dtype=torch.float64).repeat_interleave(len(strength))


def test_it_recovers_the_strengths_that_rankings_were_drawn_with() -> None:
    strength = torch.tensor([1.0, -0.5, 0.2, 0.9], dtype=torch.float64)
    past, often = rankings(strength)
    assert float(often.sum()) == pytest.approx(len(strength))
    reward = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([reward], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        terms = PlackettLuce(center_coef=1e-6).loss(scores(reward.repeat(24)), past)
        loss = sum((t.values * often).sum() * t.coef for t in terms.values() if t.coef)
        loss.backward()  # type: ignore[union-attr]
        return loss  # type: ignore[return-value]

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(reward.detach(), strength - strength.mean(), atol=1e-4, rtol=0)


def test_four_ranked_answers_by_hand() -> None:
    totals = torch.tensor([0.5, 2.0, -1.0, 0.0], dtype=torch.float64)
    e = totals.exp()
    want = -torch.log(e[1] / e.sum()) - torch.log(e[0] / (e[0] + e[2] + e[3]))
    value, _ = total(PlackettLuce(center_coef=0), totals, said([1, 0, 2, 2], [0] * 4))
    assert float(value) == pytest.approx(float(want)), "the two below tie, so nothing is said between them"


def test_centring_that_would_push_away_is_refused() -> None:
    with pytest.raises(ValueError, match="center_coef is -1"):
        PlackettLuce(center_coef=-1)
