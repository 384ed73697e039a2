"""What counts as solved, and what may never be paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from posttrain.cli.entry import Terminated
from posttrain.pipeline.finding import UserError
from posttrain.rewards.base import Episode, Rewards, checked, rewards_of, solved
from posttrain.rewards.weighted_sum import SumScorer

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
    with pytest.raises(UserError, match="answer 4 of 4, 'd', to prompt, is scored, but its verifier failed"):
        checked(paid, EPISODES)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            torch.ones(3),
            r"Given: got a tensor \[3\] of float32, expected a tensor \[4\] of numbers, one",
        ),
        (
            torch.ones(4, 1),
            r"Given: got a tensor \[4, 1\] of float32, expected a tensor \[4\] of numbers",
        ),
        (
            torch.tensor([1.0, float("nan"), 0, 0]),
            "reward Given: 1 of 4 rewards are not finite numbers; the first, nan, is of answer 2 of 4, 'b'",
        ),
        (
            torch.tensor([1.0, 0, float("inf"), 0]),
            "reward Given: 1 of 4 rewards are not finite numbers; the first, inf, is of answer 3 of 4, 'c'",
        ),
        (
            torch.ones(4, dtype=torch.bool),
            r"reward Given: got a tensor \[4\] of bool, expected a tensor \[4\] of numbers",
        ),
        ([1.0, 0.0, 1.0], "reward Given: got a list of 3, expected a tensor .4. of numbers, one an answer"),
        (None, "reward Given: got NoneType, expected a tensor .4. of numbers, one an answer"),
        (["good"] * 4, "reward Given: got a list of 4, expected a tensor .4. of numbers, one an answer"),
    ],
)
def test_rewards_of_another_form_are_refused(values: Any, told: str) -> None:
    given = Rewards(values=values, scored=torch.ones(4, dtype=torch.bool))
    with pytest.raises(UserError, match=told):
        rewards_of(Given(given), EPISODES)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            torch.ones(4),
            r"score\(\) gave a tensor \[4\] of float32, expected Rewards for 4 answers; all",
        ),
        ([1.0] * 3, r"score\(\) gave a list of 3, expected Rewards for 4 answers"),
        (
            rewards([1.0] * 4, [True] * 3),
            r"Given, scored: got a tensor \[3\] of bool, expected a tensor \[4\]",
        ),
        (
            Rewards(values=torch.ones(4), scored=torch.ones(4)),
            r"Given, scored: got a tensor \[4\] of float32, expected a tensor \[4\] of true or false",
        ),
        (
            rewards([1.0] * 4, [True] * 4, parts={"a": torch.ones(5)}),
            r"Given, a: got a tensor \[5\] of float32, expected a tensor \[4\] of numbers",
        ),
    ],
)
def test_what_are_no_rewards_is_named_with_its_source(given: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        rewards_of(Given(given), EPISODES)
    with pytest.raises(UserError, match=r"reward mine \(Given\)"):
        SumScorer([("mine", Given(given), 1.0)]).score(EPISODES)


@dataclass(frozen=True)
class Raising:
    """Raises on the answers that it is given, or asks Python to exit."""

    answers: str
    error: BaseException
    company: int = 1

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        if sum(one.response in self.answers for one in episodes) >= self.company:
            raise self.error
        return rewards([1.0] * len(episodes), [True] * len(episodes))


@pytest.mark.parametrize(
    ("scorer", "told"),
    [
        (Raising("c", KeyError("x")), "KeyError: 'x'.*on answer 3 of 4, 'c', to prompt"),
        (Raising("bd", ValueError("no")), "ValueError: no.*on answer 2 of 4, 'b', to prompt"),
        (Raising("abcd", SystemExit(0)), "SystemExit: 0.*on answer 1 of 4, 'a'"),
        (Raising("ad", ValueError("no"), 2), "only on 4 answers together, the first of which is .*'a'"),
    ],
)
def test_a_reward_that_raises_is_named_with_its_line_and_the_answer(scorer: Raising, told: str) -> None:
    for name, asked in (("Raising", scorer), (r"part \(Raising\)", SumScorer([("part", scorer, 1.0)]))):
        with pytest.raises(UserError, match=f"(?s)reward {name} raised .*{told}") as caught:
            rewards_of(asked, EPISODES)
        assert f"{__file__}:" in str(caught.value)
        assert ", in score: raise self.error" in str(caught.value)
        assert "Mend the reward, or mark what it cannot score as not scored" in str(caught.value)


class Built(Raising):
    """As one of the package's own."""


Built.__module__ = "posttrain.rewards.built"


def test_what_a_reward_of_the_package_raises_is_no_fault_of_the_users() -> None:
    with pytest.raises(KeyError):
        rewards_of(Built("c", KeyError("x")), EPISODES)


def test_a_signal_that_comes_while_a_reward_is_computed_ends_the_run() -> None:
    with pytest.raises(Terminated):
        rewards_of(Raising("c", Terminated(143)), EPISODES)
