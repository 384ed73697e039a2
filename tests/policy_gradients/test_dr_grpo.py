from __future__ import annotations

import pytest
import torch

from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.dr_grpo import DrGRPO
from tests.policy_gradients.scene import STEPS, Scene, agree, clipped, ratio, standardized, totals


@pytest.mark.parametrize(("max_length", "kl"), [(64, 0.0), (5, 0.3)])
def test_its_formula(max_length: int, kl: float) -> None:
    scene = Scene()
    advantages, want = standardized(totals(scene, kl), std=False), torch.zeros(())
    for row, steps in enumerate(STEPS):
        for t in steps:
            want = want - clipped(ratio(scene, row, t), advantages[row], 0.2, 0.2) / (5 * max_length)
    agree(scene, DrGRPO(max_length=max_length, kl=KLInReward(coef=kl)), want)


def test_settings_without_meaning_are_named() -> None:
    with pytest.raises(ValueError, match="max_length"):
        DrGRPO(max_length=0)
    with pytest.raises(ValueError, match="clip_range"):
        DrGRPO(clip_range=-0.1)
