"""Verifiable rewards: paid for what was obeyed, refused where nothing was asked."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.data.constraint_prompts import prompts, reference_answer
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards
from posttrain.rewards.constraints import Constraints


def episode(prompt: dict[str, Any], response: str, ended: bool = True) -> Episode:
    return Episode(
        prompt=prompt,
        response=response,
        ids=[1, 2],
        mask=[False, True],
        logprobs=[0.0],
        ended=ended,
        version=0,
    )


def score(*episodes: Episode, whole: float = 0.0) -> Rewards:
    with Constraints(whole=whole).open(Inputs({}), Machine()) as scorer:
        return scorer.score(episodes)


def test_reference_answers_earn_everything() -> None:
    rewards = score(*(episode(row, reference_answer(row["item"])) for row in prompts("heldout", 50, seed=0)))
    assert rewards.scored.all()
    assert (rewards.values == 1).all()
    assert (rewards.parts["constraints/all"] == 1).all()


def test_the_share_of_checks_obeyed_is_paid() -> None:
    row = {
        "item": {"checks": [{"check": "lowercase"}, {"check": "bullets", "count": 2}, {"check": "no_commas"}]}
    }
    rewards = score(
        episode(row, "- an otter\n- a beaver"), episode(row, "an otter, a beaver"), episode(row, "An otter")
    )
    assert rewards.values.tolist() == pytest.approx([1, 1 / 3, 0])
    assert rewards.parts["constraints/all"].tolist() == [1, 0, 0]


def test_a_part_may_be_paid_for_all_checks_together() -> None:
    row = {"item": {"checks": [{"check": "lowercase"}, {"check": "bullets", "count": 2}]}}
    said = [episode(row, "- an otter\n- a beaver"), episode(row, "an otter"), episode(row, "An otter")]
    assert score(*said, whole=0.5).values.tolist() == [1, 0.25, 0]
    assert score(*said, whole=1.0).values.tolist() == [1, 0, 0]
    assert score(*said, whole=0.5).parts["constraints"].tolist() == [1, 0.5, 0]
    with pytest.raises(UserError, match="share of the reward"):
        Constraints(whole=1.5)


def test_an_answer_that_was_cut_earns_nothing() -> None:
    row = {"item": {"checks": [{"check": "lowercase"}]}}
    assert score(episode(row, "otters"), episode(row, "otters", ended=False)).values.tolist() == [1, 0]


def test_prompts_without_checks_are_not_scored() -> None:
    rewards = score(
        episode({}, "a"), episode({"item": {"family": "fact"}}, "a"), episode({"item": None}, "a")
    )
    assert rewards.scored.tolist() == [False] * 3
