from __future__ import annotations

import pytest
import torch

from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.remax import ReMax
from tests.policy_gradients.scene import MASK, STEPS, Scene, agree, facts, totals

GREEDY = [0.5, 0.5, -0.2, 0.5, -0.2]


def greedy(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_its_formula() -> None:
    scene = Scene(facts=facts(greedy=greedy(GREEDY)))
    worth, want = totals(scene, 0.3), torch.zeros(())
    for row, steps in enumerate(STEPS):
        want = want - (worth[row] - GREEDY[row]) * sum(scene.now[row, t] for t in steps) / 5
    agree(scene, ReMax(kl=KLInReward(coef=0.3)), want)


def test_rows_whose_greedy_answer_was_not_scored_are_dropped() -> None:
    lost = facts(greedy=greedy([0.5, 0.5, float("nan"), 0.5, float("nan")]))
    assert ReMax().keep(lost).tolist() == [True, True, False, True, False]
    with pytest.raises(ValueError, match="keep"):
        Scene(facts=lost).experience(ReMax())


def test_an_answer_like_the_greedy_one_teaches_nothing() -> None:
    paid = [0.7, -1.1, 2.0, 0.4, -0.3]
    past = Scene(facts=facts(greedy=greedy(paid))).experience(ReMax(kl=KLInReward(coef=0.0)))
    assert not past.advantages[MASK].any()


def test_it_says_what_is_missing() -> None:
    assert ReMax().wants.greedy
    for what in (ReMax().keep, lambda rows: Scene(facts=rows).experience(ReMax())):
        with pytest.raises(ValueError, match="greedy answer"):
            what(facts())
