"""A sum of rewards keeps its parts, and its parts' gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards
from posttrain.rewards.weighted_sum import Weighted, WeightedSum

EPISODES = [
    Episode(prompt={}, response=text, ids=[1, 2], mask=[False, True], logprobs=[0.0], ended=True, version=0)
    for text in ("a", "b", "c")
]


@dataclass(frozen=True)
class Fixed:
    """Pays what it was told; None cannot be scored."""

    paid: tuple[float | None, ...]
    closed: list[bool] = field(default_factory=list, compare=False)

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[Fixed]:
        try:
            yield self
        finally:
            self.closed.append(True)

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        values = torch.tensor([float("nan") if p is None else p for p in self.paid])
        return Rewards(values=values, scored=~values.isnan(), parts={"inner": values})


def test_parts_are_weighed_and_kept() -> None:
    a, b = Fixed((1.0, None, 3.0)), Fixed((10.0, 20.0, 30.0))
    source = WeightedSum(
        parts=(Weighted(name="a", reward=a, weight=2.0), Weighted(name="b", reward=b, weight=-0.1))
    )
    with source.open(Inputs({}), Machine()) as scorer:
        rewards = scorer.score(EPISODES)
        assert not a.closed
    assert [a.closed, b.closed] == [[True], [True]]
    assert rewards.scored.tolist() == [True, False, True]
    assert rewards.values[rewards.scored].tolist() == pytest.approx([1.0, 3.0])
    assert rewards.parts["b"].tolist() == [10.0, 20.0, 30.0] == rewards.parts["b/inner"].tolist()


def test_parts_need_names_of_their_own() -> None:
    part = Weighted(name="a", reward=Fixed((1.0,)))
    for parts in ((), (part, part)):
        with pytest.raises(UserError, match="a name of its own"):
            WeightedSum(parts=parts)


def test_it_pays_by_place_where_one_of_its_rewards_does() -> None:
    from posttrain.rewards.weighted_sum import SumScorer

    class Plain:
        def score(self, episodes: Sequence[Episode]) -> Rewards:
            raise NotImplementedError

    class Ranking(Plain):
        by_place = True

    assert SumScorer([("plain", Plain(), 1.0), ("ranking", Ranking(), 1.0)]).by_place
    assert not SumScorer([("plain", Plain(), 1.0)]).by_place
