"""A plain function as a reward: what it is given, what it may return, and what is told where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from posttrain.cli import find_recipe
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Machine
from posttrain.rewards._function import FunctionReward, of_function
from posttrain.rewards.base import Episode, Rewards, lacking, rewards_of
from posttrain.settings import expression, parse
from posttrain.settings.listing import as_typed


def episode(response: str, ended: bool = True, **columns: Any) -> Episode:
    row = {"id": response, "prompt": [{"role": "user", "content": "how"}], **columns}
    mask = [False, True, True]
    return Episode(
        prompt=row, response=response, ids=[1, 2, 3], mask=mask, logprobs=[0.0] * 2, ended=ended, version=0
    )


def paid(function: Callable[..., Any], *episodes: Episode) -> Rewards:
    with of_function(function).open({}, Machine(quiet=True)) as scorer:  # type: ignore[arg-type]
        return rewards_of(scorer, episodes)


def test_it_is_given_what_its_parameters_name() -> None:
    seen: list[Any] = []

    def everything(response, prompt, row, ended, tokens, answer, more=7):  # type: ignore[no-untyped-def]
        seen.append((response, prompt[-1]["content"], row["id"], ended, tokens, answer, more))
        return len(response)

    rewards = paid(everything, episode("ab", answer="x"), episode("abc", ended=False, answer="y", more=8))
    assert seen == [("ab", "how", "ab", True, [2, 3], "x", 7), ("abc", "how", "abc", False, [2, 3], "y", 8)]
    assert rewards.values.tolist() == [2.0, 3.0]
    assert rewards.parts["everything"].tolist() == [2.0, 3.0]


def test_none_is_not_paid_and_truth_is_one() -> None:
    rewards = paid(
        lambda response: None if response == "?" else response == "yes", episode("yes"), episode("?")
    )
    assert rewards.scored.tolist() == [True, False]
    assert rewards.values.tolist() == [1.0, 0.0]


def test_a_function_of_all_answers_is_asked_once() -> None:
    calls: list[int] = []

    def ranked(responses: list[str], level: list[int]) -> Iterator[float]:
        calls.append(len(responses))
        order = sorted(range(len(responses)), key=lambda n: len(responses[n]))
        return (float(order.index(n)) + level[n] for n in range(len(responses)))

    rewards = paid(ranked, episode("ccc", level=0), episode("a", level=10), episode("bb", level=0))
    assert rewards.values.tolist() == [2.0, 10.0, 1.0]
    assert calls == [3]


def test_a_missing_column_is_told_before_anything_is_scored() -> None:
    source = of_function(lambda response, answer, hint="": 1.0)
    assert "answer" in lacking(source, {"prompt": "x"})
    assert "hint" not in lacking(source, {"prompt": "x"})
    assert lacking(source, {"prompt": "x", "answer": "1"}) == ""


def raising(response: str) -> float:
    return 1.0 / len(response.strip("x"))


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (raising, ["raising raised ZeroDivisionError", "test_function_reward.py", "answer 2 of 2, 'xx'"]),
        (lambda response: "high", ["returned 'high'", "answer 1 of 2", "expected a number"]),
        (lambda response: float("nan"), ["not finite"]),
        (lambda responses: [1.0], ["returned 1 values for 2 answers"]),
        (lambda responses: 3, ["TypeError", "2 answers at once"]),
    ],
)
def test_what_goes_wrong_is_told_with_its_row(function: Callable[..., Any], wanted: list[str]) -> None:
    with pytest.raises(UserError) as told:
        paid(function, episode("ok"), episode("xx"))
    assert [text for text in wanted if text not in str(told.value)] == []


@pytest.mark.parametrize("function", [lambda: 1.0, lambda *responses: 1.0, lambda **row: 1.0])
def test_parameters_that_cannot_be_given_by_name_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="expected parameters by name"):
        of_function(function)


def test_it_is_named_by_its_file_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def brief(response, most=5):\n    return -max(len(response.split()) - most, 0)\n")
    stage: Any = expression(find_recipe("instructgpt"), parse([f"rl.reward={file}:brief"]))
    reward = stage.final.reward
    assert isinstance(reward, FunctionReward)
    assert as_typed(reward) == f"{file}:brief"
    assert paid(reward.function, episode("a b c d e f g")).values.tolist() == [-2.0]
