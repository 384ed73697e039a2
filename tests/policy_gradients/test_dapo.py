from __future__ import annotations

import pytest
import torch

from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.dapo import DAPO
from tests.policy_gradients.scene import (
    MASK,
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


def test_its_formula() -> None:
    scene = Scene()
    advantages, want = standardized(totals(scene)), torch.zeros(())
    for row, steps in enumerate(STEPS):
        for t in steps:
            want = want - clipped(ratio(scene, row, t), advantages[row], 0.2, 0.28) / 14
    agree(scene, DAPO(), want)


def test_long_rows_pay_for_the_last_part_of_their_room() -> None:
    """Of 5 steps the last 60 % are the buffer: rows of 2, 4, 1, 4 and 3 steps."""
    scene, away = Scene(), [0.0, 2 / 3, 0.0, 2 / 3, 1 / 3]
    worth = [total - 0.5 * part for total, part in zip(totals(scene, 0.3), away, strict=True)]
    method = DAPO(max_length=5, overlong_buffer=0.6, overlong_penalty=0.5, kl=KLInReward(coef=0.3))
    past = scene.experience(method)
    for row, advantage in enumerate(standardized(worth)):
        assert past.advantages[row][MASK[row]].tolist() == pytest.approx(
            [advantage] * len(STEPS[row]), rel=1e-12
        )


def test_the_penalty_stops_at_the_whole() -> None:
    worth = [PAID[row] - 1.0 * (len(steps) > 1) for row, steps in enumerate(STEPS)]
    past = Scene().experience(DAPO(max_length=2, overlong_buffer=0.5))
    assert past.advantages[1, 0].item() == pytest.approx(standardized(worth)[1])


def test_prompts_whose_answers_are_equal_are_left_out() -> None:
    paid = facts().rewards.clone()
    paid[2, 2] = paid[4, 3] = 1.0
    same = facts(rewards=paid)
    assert DAPO().keep(same).tolist() == [True, True, False, True, False]
    assert DAPO(dynamic_sampling=False).keep(same).all()
    assert DAPO().keep(facts()).all()
    # length tells them apart
    assert DAPO(max_length=3, overlong_buffer=0.9).keep(same).all()


def test_a_batch_of_which_nothing_would_be_left_is_kept() -> None:
    equal = facts(rewards=torch.zeros(5, 5, dtype=torch.float64))
    assert DAPO().keep(equal).all()
    assert not Scene(facts=equal).experience(DAPO()).advantages.any()


def test_cut_rows_are_compared_with_and_not_learned_from() -> None:
    cut = facts(truncated=torch.tensor([False, True, False, False, False]))
    past, plain = (Scene(facts=cut).experience(DAPO(drop_truncated=drop)) for drop in (True, False))
    assert torch.equal(past.advantages, plain.advantages)
    assert not past.weights[1].any()
    assert torch.equal(past.weights[[0, 2, 3, 4]], plain.weights[[0, 2, 3, 4]])


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_range_high": 0.0},
        {"overlong_buffer": 0.0},
        {"overlong_buffer": 1.5},
        {"overlong_penalty": -1.0},
        {"max_length": 0},
    ],
)
def test_settings_without_meaning_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DAPO(**wrong)  # type: ignore[arg-type]
