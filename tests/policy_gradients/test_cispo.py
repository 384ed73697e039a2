from __future__ import annotations

import pytest
import torch

from posttrain.policy_gradients.cispo import CISPO
from tests.policy_gradients.scene import STEPS, Scene, agree, ratio, standardized, totals


@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (0.1, 0.2)])
def test_its_formula(low: float, high: float) -> None:
    scene = Scene()
    advantages, want = standardized(totals(scene)), torch.zeros(())
    for row, steps in enumerate(STEPS):
        for t in steps:
            weight = min(max(float(ratio(scene, row, t).detach()), 1 - low), 1 + high)
            want = want - weight * advantages[row] * scene.now[row, t] / 14
    agree(scene, CISPO(clip_range=low, clip_range_high=high), want)


def test_no_step_is_silenced() -> None:
    assert Scene().loss(CISPO(clip_range=0.01, clip_range_high=0.01))[1].abs().min() > 1e-4


@pytest.mark.parametrize("wrong", [{"clip_range": 1.5}, {"clip_range": 0.0}, {"clip_range_high": 0.0}])
def test_settings_without_meaning_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CISPO(**wrong)  # type: ignore[arg-type]
