from __future__ import annotations

import pytest
import torch

from posttrain.core.batch import PreferenceBatch, RewardLoss
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.reward_losses.ensemble import Ensemble
from posttrain.reward_losses.outcome import Outcome
from tests.reward_losses.said import said, scores


def figures(loss: RewardLoss, values: torch.Tensor, past: PreferenceBatch) -> dict[str, float]:
    return {
        n: float((t.reduction(past) * t.values.detach()).sum()) for n, t in loss.loss(values, past).items()
    }


ONE, OTHER = torch.tensor([2.0, 0.0, 1.0, 3.0]), torch.tensor([1.0, 1.5, 2.0, 3.0])
PAST = said([0, 1, 1, 0], [0, 0, 1, 1])


def test_it_is_the_mean_of_its_members() -> None:
    both = torch.stack([scores(ONE), scores(OTHER)], -1)
    got = figures(Ensemble(), both, PAST)
    members = [figures(BradleyTerry(), scores(x), PAST) for x in (ONE, OTHER)]
    for name in members[0]:
        assert got[name] == pytest.approx(sum(m[name] for m in members) / 2), name


def test_disagreement_is_of_gaps_and_has_no_gradient() -> None:
    both = torch.stack([scores(ONE), scores(OTHER)], -1).requires_grad_()
    terms = Ensemble().loss(both, PAST)
    got = figures(Ensemble(), both, PAST)
    assert got["disagreement"] == pytest.approx((abs(2 - -0.5) / 2 + abs(2 - 1) / 2) / 2)
    shifted = torch.stack([scores(ONE), scores(ONE + 7)], -1)
    assert figures(Ensemble(), shifted, PAST)["disagreement"] == pytest.approx(0)
    assert figures(Ensemble(), shifted, PAST)["score_spread"] == pytest.approx(3.5)
    assert terms["disagreement"].coef == 0
    assert not terms["disagreement"].values.requires_grad


def test_one_member_does_not_disagree() -> None:
    got = figures(Ensemble(each=Outcome()), scores(ONE), PAST)
    assert got["disagreement"] == got["score_spread"] == 0
    assert got["outcome_loss"] == figures(Outcome(), scores(ONE), PAST)["outcome_loss"]


def test_members_disagree_where_the_data_does_not_decide() -> None:
    """Eight linear models learn from pairs that differ in the first feature only."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(8, 2, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=0.05)
    seen = torch.tensor([[1.0, 0.0], [0.0, 0.0]] * 2)
    seen_past = said([0, 1, 0, 1], [0, 0, 1, 1], confidence=torch.tensor([0.8] * 4))

    def values(features: torch.Tensor) -> torch.Tensor:
        return torch.stack([scores(features @ w) for w in weights], -1)

    for _ in range(300):
        optimizer.zero_grad()
        terms = Ensemble().loss(values(seen), seen_past)
        loss = sum((t.reduction(seen_past) * t.values).sum() * t.coef for t in terms.values() if t.coef)
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
    with torch.no_grad():
        known = figures(Ensemble(), values(seen), seen_past)["disagreement"]
        new = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
        unknown = figures(Ensemble(), values(new), said([0, 1], [0, 0]))["disagreement"]
    assert known < 0.05 < 0.3 < unknown
