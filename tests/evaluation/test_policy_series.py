"""Policies in a row."""

from __future__ import annotations

import pytest

from posttrain.evaluation.compare import Answers
from posttrain.evaluation.gold import Judgement
from posttrain.evaluation.policy_series import slope
from posttrain.evaluation.solved_shares import solved_in_a_row
from posttrain.metrics import flat

RIGHT = {
    "sft": [0.0, 0.0, 1.0, 0.0],
    "dpo": [1.0, 0.0, 1.0, 0.0],
    "rl": [1.0, 1.0, 1.0, 0.0],
    "other": [1.0] * 4,
}


def test_each_is_compared_with_the_one_before_it_and_the_last_with_everybody() -> None:
    metrics = flat(solved_in_a_row(RIGHT, 3, ["sum", "sum", "word", "word"]))
    changes = {name: value for name, value in metrics.items() if name.startswith("solved_change")}
    assert {name: value for name, value in changes.items() if not name.endswith(("_low", "_high", "_n"))} == {
        "solved_change/dpo_vs_sft": 0.25,
        "solved_change/rl_vs_dpo": 0.25,
        "solved_change/rl_vs_sft": 0.5,
        "solved_change/rl_vs_other": -0.25,
    }
    assert metrics["solved/rl"] == 0.75
    assert metrics["solved/rl/sum"] == 1.0
    assert metrics["solved/rl/word"] == 0.5
    assert metrics["solved/rl/word_n"] == 2


def test_two_policies_and_one_family_are_told_once() -> None:
    metrics = flat(solved_in_a_row({"sft": [0.0, 1.0], "rl": [1.0, 1.0]}, 2, ["sum", "sum"]))
    assert [name for name in metrics if not name.endswith(("_low", "_high", "_n"))] == [
        "solved/sft",
        "solved/rl",
        "solved_change/rl_vs_sft",
    ]


def policy(name: str, totals: list[float | None]) -> Answers:
    gold = [None if total is None else Judgement(total) for total in totals]
    silent = [""] * len(totals)
    return Answers(
        name=name, texts=silent, ended=[True] * len(totals), rewards=[0.0] * len(totals), gold=gold
    )


def test_the_slope_is_what_each_round_adds() -> None:
    """Over four rounds, of prompts that gain 0.1 and 0.3 a round; one without gold is left out."""
    rounds = [policy(f"round_{n}", [0.2 + 0.1 * n, 0.3 * n, None]) for n in range(4)]
    found = slope(rounds)
    assert found.value == pytest.approx(0.2)
    assert found.n == 2
    assert (found.low, found.high) == pytest.approx((0.1, 0.3))
