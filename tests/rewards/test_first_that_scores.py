"""Several rewards, each for the answers that those before it could not score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards
from posttrain.rewards.first_that_scores import FirstThatScores
from posttrain.rewards.weighted_sum import Weighted

EPISODES = [
    Episode(prompt={}, response=text, ids=[1, 2], mask=[False, True], logprobs=[0.0], ended=True, version=0)
    for text in "abcd"
]
FAILED = "failed"


@dataclass(frozen=True)
class Fixed:
    """Pays what it was told; None cannot be scored, and FAILED is a fault of the machine."""

    paid: tuple[float | str | None, ...]

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[Fixed]:
        yield self

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        values = torch.tensor([p if isinstance(p, float) else float("nan") for p in self.paid])
        failed = {row: FAILED for row, p in enumerate(self.paid) if p == FAILED}
        return Rewards(values=values, scored=~values.isnan(), failed=failed)


def source(*paid: tuple[float | str | None, ...]) -> FirstThatScores:
    return FirstThatScores(
        parts=tuple(
            Weighted(name=f"part{n}", reward=Fixed(one), weight=[2.0, 10.0][n]) for n, one in enumerate(paid)
        )
    )


def test_each_answer_is_paid_by_the_first_that_can_score_it() -> None:
    both = source((1.0, None, FAILED, None), (7.0, 0.5, 3.0, None))
    with both.open(Inputs({}), Machine()) as scorer:
        found = scorer.score(EPISODES)
    assert found.scored.tolist() == [True, True, False, False]
    assert found.values[:2].tolist() == [2.0, 5.0]
    assert found.parts["part0"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert found.parts["part1/share"].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert found.failed == {2: FAILED}  # neither paid by the second nor held against the answer


def test_a_later_fault_does_not_take_back_what_was_paid() -> None:
    both = source((1.0, None, 1.0, None), (FAILED, FAILED, 3.0, 4.0))
    with both.open(Inputs({}), Machine()) as scorer:
        found = scorer.score(EPISODES)
    assert found.scored.tolist() == [True, False, True, True]
    assert found.failed == {1: FAILED}


def test_names_are_needed_and_differ() -> None:
    part = Weighted(name="a", reward=Fixed(()))
    for parts in ((), (part, part)):
        with pytest.raises(UserError, match="a name of its own"):
            FirstThatScores(parts=parts)


def test_it_pays_by_place_where_one_of_its_rewards_does() -> None:
    from posttrain.rewards.first_that_scores import FirstScorer

    class Plain:
        def score(self, episodes: Sequence[Episode]) -> Rewards:
            raise NotImplementedError

    class Ranking(Plain):
        by_place = True

    assert FirstScorer([("plain", Plain(), 1.0), ("ranking", Ranking(), 1.0)]).by_place
    assert not FirstScorer([("plain", Plain(), 1.0)]).by_place
