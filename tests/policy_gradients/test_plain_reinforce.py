from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posttrain.core.importance import Truncated
from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.reinforce import Reinforce
from tests.policy_gradients.scene import CLOSE, MASK, PAID, STEPS, Scene, agree, facts, noise


def to_go(scene: Scene, row: int, gamma: float, kl: float) -> list[float]:
    away = scene.before - scene.reference
    steps = STEPS[row]
    paid = [(PAID[row] if t == steps[-1] else 0.0) - kl * float(away[row, t]) for t in steps]
    return [sum(gamma ** (u - k) * paid[u] for u in range(k, len(paid))) for k in range(len(paid))]


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("baseline", [True, False])
def test_its_formula(gamma: float, baseline: bool) -> None:
    scene = Scene()
    returns = [to_go(scene, row, gamma, 0.2) for row in range(5)]
    want = torch.zeros(())
    for row, steps in enumerate(STEPS):
        for k, t in enumerate(steps):
            peers = [g[k] for j, g in enumerate(returns) if j != row and len(g) > k]
            middle = sum(peers) / len(peers) if baseline and peers else 0.0
            want = want - (returns[row][k] - middle) * scene.now[row, t] / 5
    agree(scene, Reinforce(gamma=gamma, baseline=baseline, kl=KLInReward(coef=0.2)), want)


def test_the_entropy_bonus_is_paid_per_row() -> None:
    scene = Scene(more={"entropy": noise(9, 0.1, 0.8).requires_grad_()})
    plain = Scene().loss(Reinforce())[0]
    bonus = Scene(more=scene.more).loss(Reinforce(entropy_coef=0.5))[0]
    want = plain - 0.5 * scene.more["entropy"].detach()[MASK].sum() / 5
    torch.testing.assert_close(bonus, want, **CLOSE)
    assert Reinforce(entropy_coef=0.5).wants.entropy_gradient
    assert not Reinforce().wants.entropy_gradient


def test_no_action_of_a_row_moves_its_own_baseline() -> None:
    plain, method = Scene(), Reinforce(kl=KLInReward(coef=0.0))
    changed = facts()
    changed.rewards[1, 3] += 10.0
    before, after = (s.experience(method).advantages for s in (plain, Scene(facts=changed)))
    torch.testing.assert_close(after[1][MASK[1]] - before[1][MASK[1]], torch.full((4,), 10.0).double())
    assert not torch.equal(after[0], before[0])


def test_a_row_alone_has_nothing_to_be_compared_with() -> None:
    with_baseline, without = (Reinforce(baseline=b) for b in (True, False))
    alone = replace(facts(), group=torch.arange(5))
    one = Scene(facts=alone)
    torch.testing.assert_close(one.loss(with_baseline)[0], Scene().loss(with_baseline)[0], **CLOSE)
    assert one.loss(without)[0] != one.loss(with_baseline)[0]


def test_a_correction_weighs_steps_and_asks_for_the_trainer() -> None:
    method = Reinforce(correction=Truncated(cap=1.2))
    scene = Scene()
    ratio = (scene.before - scene.facts.logprobs).exp().clamp(max=1.2)
    torch.testing.assert_close(scene.experience(method).weights[MASK], ratio[MASK], **CLOSE)
    assert not scene.experience(method).weights[~MASK].any()
    assert method.wants.before
    assert not Reinforce().wants.before


@pytest.mark.parametrize("wrong", [{"gamma": 1.1}, {"entropy_coef": -0.1}, {"gamma": float("nan")}])
def test_settings_without_meaning_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Reinforce(**wrong)  # type: ignore[arg-type]
