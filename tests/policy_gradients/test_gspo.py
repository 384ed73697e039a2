from __future__ import annotations

import pytest
import torch

from posttrain.policy_gradients.gspo import GSPO
from tests.policy_gradients.scene import STEPS, Scene, agree, clipped, standardized, totals


@pytest.mark.parametrize("wide", [0.05, 3e-4])
def test_it_is_the_ratio_of_sequences(wide: float) -> None:
    """Computed as GSPO-token, it has value and gradient of equation 5, written over whole rows."""
    scene = Scene()
    advantages, want = standardized(totals(scene)), torch.zeros(())
    for row, steps in enumerate(STEPS):
        s = torch.exp(sum(scene.now[row, t] - scene.before[row, t] for t in steps) / len(steps))  # type: ignore[arg-type]
        want = want - clipped(s, advantages[row], wide, 4 / 3 * wide) / 5
    agree(scene, GSPO(clip_range=wide, clip_range_high=4 / 3 * wide), want)


def test_the_trainer_is_always_read() -> None:
    assert GSPO(minibatches=1).wants.before


def test_settings_without_meaning_are_named() -> None:
    with pytest.raises(ValueError, match="clip_range_high"):
        GSPO(clip_range_high=0.0)
