"""What counts as solved, and what may never be paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from posttrain.pipeline.finding import UserError
from posttrain.rewards.protocol import Episode, Rewards, checked, solved

EPISODES = [
    Episode(prompt={}, response=text, ids=[1, 2], mask=[False, True], logprobs=[0.0], ended=True, version=0)
    for text in "abcd"
]


@dataclass(frozen=True)
class Given:
    rewards: Rewards

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        return self.rewards


def rewards(values: list[float], scored: list[bool], **more: object) -> Rewards:
    return Rewards(values=torch.tensor(values), scored=torch.tensor(scored), **more)  # type: ignore[arg-type]


def test_solved_is_what_was_scored_and_paid_in_full() -> None:
    given = rewards([1.0, 0.99, 2.0, 5.0], [True, True, True, False])
    assert solved(Given(given), EPISODES) == [1.0, 0.0, 1.0, 0.0]


def test_nothing_is_solved_or_not_where_a_verifier_failed() -> None:
    given = rewards([1.0, 1.0, 1.0, 0.0], [True, True, True, False], failed={3: "killed"})
    with pytest.raises(UserError, match="failed on 1 of 4 answers"):
        solved(Given(given), EPISODES)
    paid = rewards([1.0, 1.0, 1.0, 1.0], [True] * 4, failed={3: "killed"})
    with pytest.raises(UserError, match="answer 3 is scored, but its verifier failed"):
        checked(paid, EPISODES)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (torch.ones(3), r"reward: got shape \(3,\), expected \(4,\), one an answer"),
        (torch.ones(4, 1), r"reward: got shape \(4, 1\), expected \(4,\), one an answer"),
        (
            torch.tensor([1.0, float("nan"), 0, 0]),
            "1 of 4 rewards are not finite numbers; the first, nan, .*'b'",
        ),
        (
            torch.tensor([1.0, 0, float("inf"), 0]),
            "1 of 4 rewards are not finite numbers; the first, inf, .*'c'",
        ),
        (
            torch.ones(4, dtype=torch.bool),
            "reward: got a tensor of torch.bool, expected a tensor .4. of numbers",
        ),
        ([1.0, 0.0, 1.0, 0.0], "reward: got list, expected a tensor .4. of numbers, one an answer"),
        (None, "reward: got NoneType, expected a tensor .4. of numbers, one an answer"),
        (["good"] * 4, "reward: got list, expected a tensor .4. of numbers, one an answer"),
    ],
)
def test_rewards_of_another_form_are_refused(values: Any, told: str) -> None:
    given = Rewards(values=values, scored=torch.ones(4, dtype=torch.bool))
    with pytest.raises(UserError, match=told):
        checked(given, EPISODES)
