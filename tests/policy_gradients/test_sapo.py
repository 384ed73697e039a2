from __future__ import annotations

import pytest
import torch

from posttrain.core.batch import Evaluation
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.sapo import SAPO
from tests.policy_gradients.scene import CLOSE, MASK, STEPS, Scene, agree, ratio, standardized, totals


def test_its_formula() -> None:
    scene = Scene()
    advantages, want = standardized(totals(scene)), torch.zeros(())
    for row, steps in enumerate(STEPS):
        tau = 1.1 if advantages[row] > 0 else 2.3
        for t in steps:
            gate = 4 / tau / (1 + torch.exp(-tau * (ratio(scene, row, t) - 1)))
            want = want - gate * advantages[row] / len(steps) / 5
    agree(scene, SAPO(tau=1.1, tau_negative=2.3), want)


def test_where_nothing_moved_its_gradient_is_grpos() -> None:
    def at(method: SAPO | GRPO) -> torch.Tensor:
        scene = Scene()
        still = Scene(now=scene.before.clone().requires_grad_())
        past = still.experience(method)
        term = method.loss(Evaluation(logprobs=still.now), past)["policy_loss"]
        return still.gradient((term.reduction(past) * term.values).sum())

    torch.testing.assert_close(at(SAPO()), at(GRPO()), **CLOSE)


def test_the_gate_fades_on_both_sides_and_faster_for_the_negative() -> None:
    def pull(away: float) -> tuple[float, float]:
        scene = Scene()
        moved = Scene(now=(scene.before + away).detach().requires_grad_())
        past = moved.experience(SAPO())
        gradient = moved.loss(SAPO())[1]
        r = torch.full_like(gradient, away).exp()
        share = gradient / (r * past.advantages[MASK])  # of f'(r), up to the row's length
        positive = past.advantages[MASK] > 0
        length = torch.tensor([len(steps) for steps in STEPS for _ in steps]) * 5.0
        f = -(share * length)
        return f[positive].mean().item(), f[~positive].mean().item()

    at_one = pull(0.0)
    assert at_one == pytest.approx((1.0, 1.0))
    for away in (1.0, -1.0):
        positive, negative = pull(away)
        assert negative < positive < 1


@pytest.mark.parametrize("wrong", [{"tau": 0.0}, {"tau_negative": -1.0}])
def test_settings_without_meaning_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SAPO(**wrong)  # type: ignore[arg-type]
