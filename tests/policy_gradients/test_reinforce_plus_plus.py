from __future__ import annotations

import pytest
import torch

from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.reinforce_plus_plus import ReinforcePlusPlus
from posttrain.policy_gradients.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from tests.policy_gradients.scene import (
    PAID,
    STEPS,
    Scene,
    agree,
    clipped,
    facts,
    ratio,
    standardized,
    totals,
)


def white(per_step: list[list[float]]) -> list[list[float]]:
    every = [x for row in per_step for x in row]
    middle = sum(every) / len(every)
    width = (sum((x - middle) ** 2 for x in every) / len(every)) ** 0.5
    return [[(x - middle) / (width + 1e-8) for x in row] for row in per_step]


def surrogate(scene: Scene, advantages: list[list[float]]) -> torch.Tensor:
    want = torch.zeros(())
    for row, steps in enumerate(STEPS):
        for k, t in enumerate(steps):
            want = want - clipped(ratio(scene, row, t), advantages[row][k], 0.2, 0.2) / 14
    return want


def test_its_formula() -> None:
    scene = Scene()
    away = scene.before - scene.reference
    returns = [
        [PAID[row] - 0.1 * sum(float(away[row, u]) for u in steps[k:]) for k in range(len(steps))]
        for row, steps in enumerate(STEPS)
    ]
    agree(scene, ReinforcePlusPlus(kl=KLInReward(coef=0.1)), surrogate(scene, white(returns)))


def test_its_formula_with_a_baseline() -> None:
    scene = Scene()
    centred = standardized(totals(scene), std=False)
    advantages = white([[a] * len(steps) for a, steps in zip(centred, STEPS, strict=True)])
    away = [scene.now[row, t] - scene.reference[row, t] for row, steps in enumerate(STEPS) for t in steps]
    want = surrogate(scene, advantages) + 0.05 * sum(x**2 / 2 for x in away) / 14
    agree(scene, ReinforcePlusPlusBaseline(), want)


def test_equal_rewards_teach_nothing() -> None:
    equal = facts(rewards=torch.zeros(5, 5, dtype=torch.float64))
    for method in (ReinforcePlusPlus(kl=KLInReward(coef=0.0)), ReinforcePlusPlusBaseline()):
        assert not Scene(facts=equal).experience(method).advantages.any()


def test_one_answer_a_prompt_is_enough_without_a_baseline() -> None:
    alone = Scene(facts=facts(group=torch.arange(5)))
    assert alone.experience(ReinforcePlusPlus()).advantages.isfinite().all()
    assert not ReinforcePlusPlus().wants.group
    assert ReinforcePlusPlusBaseline().wants.group


@pytest.mark.parametrize("kind", [ReinforcePlusPlus, ReinforcePlusPlusBaseline])
def test_settings_without_meaning_are_named(kind: type) -> None:
    with pytest.raises(ValueError, match="clip_range"):
        kind(clip_range=0.0)
