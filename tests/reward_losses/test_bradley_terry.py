from __future__ import annotations

import math

import pytest
import torch

from posttrain.core.batch import PreferenceBatch
from posttrain.core.preferences import ranked
from posttrain.reward_losses.bradley_terry import BradleyTerry
from tests.tiny import rollouts


def said(rank: list[int], group: list[int], **more: torch.Tensor) -> PreferenceBatch:
    rows = len(rank)
    mask = torch.tensor([[False, True, True]]).repeat(rows, 1)
    facts = rollouts(torch.zeros(rows, 4, dtype=torch.long), mask, group=torch.tensor(group))
    return ranked(facts, torch.tensor(rank), **more)


def scores(*totals: float) -> torch.Tensor:
    """Paid in two steps; what stands outside the mask is junk."""
    halves = torch.tensor(totals, dtype=torch.float64)[:, None] / 2
    return torch.cat([halves * float("nan"), halves, halves], 1)


def figures(loss: BradleyTerry, values: torch.Tensor, past: PreferenceBatch) -> dict[str, float]:
    return {
        name: float((term.reduction(past) * term.values).sum())
        for name, term in loss.loss(values, past).items()
    }


def test_by_hand() -> None:
    past = said([1, 0], [4, 4])
    got = figures(BradleyTerry(), scores(1.0, 3.0), past)
    assert got["pair_loss"] == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)
    assert got["center_loss"] == pytest.approx(16)
    assert got["accuracy"] == 1
    assert got["gap"] == 2
    assert got["score"] == 2


def test_equal_scores_are_half_right() -> None:
    assert figures(BradleyTerry(), scores(1.0, 1.0), said([0, 1], [0, 0]))["accuracy"] == 0.5


def test_a_group_of_many_makes_all_its_pairs() -> None:
    past = said([0, 1, 2, 0, 1], [0, 0, 0, 1, 1])
    values = [2.0, 0.5, -1.0, 0.0, 1.0]
    gaps = [1.5, 3.0, 1.5, -1.0]
    want = sum(math.log(1 + math.exp(-gap)) for gap in gaps) / 4
    got = figures(BradleyTerry(), scores(*values), past)
    assert got["pair_loss"] == pytest.approx(want, rel=1e-6)
    assert got["accuracy"] == 0.75


def test_a_margin_is_asked_for_on_top() -> None:
    past = said([0, 1], [0, 0], margin=torch.tensor([1.5, 0.5]))
    with_margin = figures(BradleyTerry(margin=True), scores(3.0, 1.0), past)["pair_loss"]
    assert with_margin == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert figures(BradleyTerry(), scores(3.0, 1.0), past)["pair_loss"] < with_margin


def test_a_row_on_its_own_teaches_nothing() -> None:
    values = scores(1.0, 2.0).requires_grad_()
    terms = BradleyTerry().loss(values, said([0, 0], [0, 1]))
    sum((t.values * t.coef).sum() for t in terms.values()).backward()
    assert values.grad is not None
    assert not values.grad[:, 1:].any()


def test_it_converges_to_the_log_odds_centred() -> None:
    """Three answers compared many times: the optimum of the pair loss is the log-odds of the true
    strengths."""
    strength = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    pairs, often = [(i, j) for i in range(3) for j in range(3) if i != j], []
    for i, j in pairs:
        often.append(torch.sigmoid(strength[i] - strength[j]))
    past = said([0, 1] * 6, [g for g in range(6) for _ in range(2)])
    reward = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([reward], max_iter=100, line_search_fn="strong_wolfe")
    weight = torch.stack(often).repeat_interleave(2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        rows = torch.stack([reward[k] for pair in pairs for k in pair]) / 2
        values = rows[:, None].expand(-1, 3)
        terms = BradleyTerry(center_coef=1e-6).loss(values, past)
        loss = sum((t.values * weight).sum() * t.coef for t in terms.values() if t.coef)
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)
    torch.testing.assert_close(reward.detach(), strength - strength.mean(), atol=1e-3, rtol=0)


def test_centring_that_would_push_away_is_refused() -> None:
    with pytest.raises(ValueError, match="center_coef is -1"):
        BradleyTerry(center_coef=-1)
