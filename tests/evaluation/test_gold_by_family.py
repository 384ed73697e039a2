"""Gold by family: changes with intervals, and a finding where one fell that does not stop a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.checks import family_falls
from posttrain.evaluation.compare import Answers, by_family, family_changes
from posttrain.evaluation.gold import Judgement
from posttrain.metrics import flat, typed

PROMPTS = [{"item": {"family": "feeling" if n % 2 else "fact"}} for n in range(40)]


def judged(name: str, feeling: float, fact: float) -> Answers:
    gold = [
        Judgement((feeling if n % 2 else fact) + 0.01 * (n % 5), {"manner": feeling if n % 2 else fact})
        for n in range(40)
    ]
    return Answers(name=name, texts=[""] * 40, ended=[True] * 40, rewards=[0.0] * 40, gold=gold)


def test_families_and_their_parts_are_told_apart() -> None:
    metrics = flat(by_family(judged("final", 0.8, 0.3), PROMPTS))
    assert metrics["gold_by_family/final/feeling/manner"] == pytest.approx(0.8)
    assert metrics["gold_by_family/final/fact/manner"] == pytest.approx(0.3)
    assert metrics["gold_by_family/final/fact"] == pytest.approx(0.32)


def test_a_family_that_falls_is_found_where_the_whole_rises() -> None:
    before, after = judged("sft", 0.5, 0.5), judged("final", 0.9, 0.4)
    metrics = flat(family_changes(after, before, PROMPTS))
    assert metrics["family_change/feeling"] == pytest.approx(0.4)
    assert metrics["family_change_worst"] == pytest.approx(-0.1)
    found = family_falls.check(typed(metrics))
    assert not found.passed
    assert not found.stops
    assert "fact changed by -10.0 points" in found.evidence
    assert family_falls.check(family_changes(before, before, PROMPTS)).passed


def test_without_families_nothing_falls() -> None:
    nothing: dict[str, Any] = {}
    assert family_falls.check(nothing).passed
