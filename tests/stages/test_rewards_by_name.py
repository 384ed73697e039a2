"""Rewards are found by name in every recipe, and prompts that one cannot score are told before a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posttrain.checks import reward_fits
from posttrain.data.read import read_problems, read_prompts
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.recipes.deepseek_r1_zero import deepseek_r1_zero
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.tulu3 import tulu3
from posttrain.rewards.base import lacking
from posttrain.rewards.code_tests import CodeTests
from posttrain.rewards.coin_reward import CoinReward
from posttrain.rewards.constraints import Constraints
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.rewards.first_that_scores import FirstThatScores
from posttrain.rewards.format import Format
from posttrain.rewards.length import Length
from posttrain.rewards.math_answer import MathAnswer
from posttrain.rewards.reasoning_gym import ReasoningGym
from posttrain.rewards.weighted_sum import Weighted, WeightedSum
from posttrain.settings import expression, parse
from posttrain.stages.problems import ProblemRows
from posttrain.stages.reasoning_gym import ReasoningGymTasks
from posttrain.stages.rl import Reinforcement

NAMES = {
    "math_answer": MathAnswer(),
    "code_tests": CodeTests(),
    "constraints": Constraints(),
    "format": Format(),
    "length": Length(),
    "exact_answer": ExactAnswer(),
    "reasoning_gym": ReasoningGym(),
    "coin_reward": CoinReward(),
}


def rl_of(made: Any) -> Reinforcement:
    found = made.final if hasattr(made, "final") else made.policies[-1]
    assert isinstance(found, Reinforcement)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recipe", [deepseek_r1_zero, tulu3, instructgpt])
def test_a_reward_is_found_by_the_name_of_its_file(recipe: Any, name: str) -> None:
    assert rl_of(expression(recipe, parse([f"rl.reward={name}"]))).reward == NAMES[name]


def test_a_reward_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UserError, match="did you mean math_answer") as caught:
        expression(tulu3, parse(["rl.reward=maths_answer"]))
    assert "_equivalence" not in str(caught.value)
    assert "protocol" not in str(caught.value)
    with pytest.raises(UserError, match="verifier=maths_answer: no such choice; did you mean math_answer"):
        expression(tulu3, parse(["verifier=maths_answer"]))


def test_a_verifier_pays_chooses_and_counts() -> None:
    settings = ["evidence=full", "verifier=math_answer", "rl.reward.seconds=2"]
    made: Any = expression(deepseek_r1_zero, parse(settings))
    assert made.reward == MathAnswer()
    assert rl_of(made).reward == MathAnswer(seconds=2)
    names = {stage.name: stage for stage in made.beside}
    assert names["sft_verified"].demonstrations.reward == MathAnswer(seconds=2)  # a control of rl follows it
    assert names["random_control"].reward == CoinReward()
    contest: Any = expression(tulu3, parse(["verifier=code_tests", "problems=mine.jsonl"]))
    assert (contest.verifier, rl_of(contest).reward) == (CodeTests(), CodeTests())
    assert isinstance(contest.problems, ProblemRows)
    assert contest.problems is rl_of(contest).prompts


def test_tasks_of_reasoning_gym_are_problems() -> None:
    wish = "problems=reasoning_gym:leg_counting, basic_arithmetic"
    for recipe in (deepseek_r1_zero, tulu3):
        rl = rl_of(expression(recipe, parse([wish])))
        assert rl.reward == ReasoningGym()
        assert isinstance(rl.prompts, ReasoningGymTasks)
        assert rl.prompts.tasks == ("leg_counting", "basic_arithmetic")


def test_what_prompts_lack_is_told(tmp_path: Path) -> None:
    row = {"id": "p1", "prompt": "47 + 38", "answer": "85"}
    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps({"id": "p2", "prompt": "x"}) + "\n")
    assert reward_fits.check(Format(), file) == []
    (some,) = reward_fits.check(MathAnswer(), file)
    assert some.passed
    assert some.evidence == "MathAnswer can score 1 of 2 prompts; p2 lacks answer, it has id, prompt"
    (none,) = reward_fits.check(CodeTests(), file)
    assert not none.passed
    assert "can score 0 of 2 prompts; p1 lacks tests or cases, it has answer, id, prompt" in none.evidence
    product = type("Made", (), {"path": tmp_path})()
    rl = rl_of(expression(tulu3, parse(["rl.reward=constraints"])))
    (found,) = rl.preflight(Inputs({"prompts": product}), Machine())
    assert not found.passed
    assert "lacks checks in its item" in found.evidence


def test_several_rewards_lack_what_their_parts_lack() -> None:
    parts = tuple(Weighted(name=type(r).__name__, reward=r) for r in (MathAnswer(), CodeTests(), Format()))
    assert lacking(WeightedSum(parts=parts), {}) == "answer, tests or cases"
    assert lacking(FirstThatScores(parts=parts), {}) == ""
    assert lacking(FirstThatScores(parts=parts[:2]), {}) == "answer or tests or cases"
    assert lacking(FirstThatScores(parts=parts[:2]), {"tests": "assert f()"}) == ""


def test_a_users_rows_keep_what_rewards_read(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Do it"}]
    rows = [
        {"prompt": "Do it", "answer": 5},
        {"prompt": "Do it", "tests": "assert f(1)", "entry_point": "f", "other": 1},
        {"prompt": "Do it", "cases": [{"input": "", "output": "1"}]},
        {"prompt": "Do it", "checks": [{"check": "bullets", "count": 2}]},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_problems(str(file))
    assert read == [
        {"prompt": asked, "answer": "5"},
        {"prompt": asked, "tests": "assert f(1)", "entry_point": "f"},
        {"prompt": asked, "cases": [{"input": "", "output": "1"}]},
        {"prompt": asked, "item": {"family": "constraint", "checks": [{"check": "bullets", "count": 2}]}},
    ]
    assert read_prompts(str(file)) == read
    for source, kept in zip((MathAnswer(), CodeTests(), CodeTests(), Constraints()), read, strict=True):
        assert lacking(source, kept) == ""


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"cases": [{"input": "1"}]}, "row 1: cases[0].output is missing"),
        ({"cases": "1"}, "row 1: cases is str, expected a list of objects"),
        ({"checks": [{"check": "bulets"}]}, "check 'bulets' is not known"),
        ({"checks": []}, "row 1: checks is an empty list"),
        ({"tests": ""}, "row 1: tests is empty"),
        ({"tests": None}, "row 1: tests is null"),
        ({"question": "x"}, "no column answer"),
    ],
)
def test_rows_that_cannot_be_verified_by_are_told(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "Do it", **row}) + "\n")
    with pytest.raises(UserError) as caught:
        read_problems(str(file))
    assert told in str(caught.value)
