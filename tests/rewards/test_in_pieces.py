"""Answers are scored in chunks, each of which may be scored by another process."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode
from posttrain.rewards.coin_reward import CoinReward
from posttrain.rewards.constraints import Constraints
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.rewards.final_answer import FinalAnswer
from posttrain.rewards.first_that_scores import FirstThatScores
from posttrain.rewards.format import Format
from posttrain.rewards.length import Length
from posttrain.rewards.math_answer import MathAnswer
from posttrain.rewards.readable_answer import ReadableAnswer
from posttrain.rewards.weighted_sum import Weighted, WeightedSum

COIN = Weighted(name="coin", reward=CoinReward())
SOURCES: list[Any] = [
    CoinReward(seed=3),
    Constraints(),
    ExactAnswer(),
    FinalAnswer(),
    FirstThatScores(parts=(Weighted(name="right", reward=MathAnswer()), COIN)),
    Format(),
    Length(shortest=2, longest=4, margin=3),
    MathAnswer(),
    ReadableAnswer(),
    WeightedSum(parts=(COIN, Weighted(name="length", reward=Length()))),
]


def episodes() -> list[Episode]:
    """Twelve answers by two versions of the weights, some of them the same words."""
    made = []
    for number in range(12):
        words = ("85", "It is 85.", "<think>47 + 38</think><answer>85</answer>", "84")[number % 4]
        answer = list(range(5 + number % 3))
        item = {"checks": [{"check": "lowercase"}, {"check": "no_commas"}]}
        row = {"id": str(number), "prompt": "47 + 38", "answer": "85", "item": item}
        made.append(
            Episode(
                prompt=row,
                response=words,
                ids=[1, 2, *answer],
                mask=[False, False, *([True] * len(answer))],
                logprobs=[-1.0] * len(answer),
                ended=number % 5 != 0,
                version=number // 6,
                seed=number // 2,
            )
        )
    return made


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_in_pieces_each_by_a_new_scorer_answers_earn_the_same(source: Any) -> None:
    def scored(some: list[Episode]) -> tuple[list[float], list[bool], dict[str, list[float]]]:
        with source.open(Inputs({}), Machine()) as scorer:
            rewards = scorer.score(some)
        values = torch.where(rewards.scored, rewards.values, 0.0)
        parts = {name: values.nan_to_num(-1).tolist() for name, values in rewards.parts.items()}
        return values.tolist(), rewards.scored.tolist(), parts

    answers = episodes()
    whole = scored(answers)
    pieces = [scored(answers[at : at + 5]) for at in range(0, len(answers), 5)]
    assert [value for piece in pieces for value in piece[0]] == whole[0]
    assert [known for piece in pieces for known in piece[1]] == whole[1]
    for name, values in whole[2].items():
        assert [value for piece in pieces for value in piece[2].get(name, [])] == values
