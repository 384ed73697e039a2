"""Who watches two stretches of play chooses as Bradley and Terry say."""

from __future__ import annotations

import math

import pytest

from posttrain.feedback.segments import SegmentAnnotator


@pytest.mark.parametrize(("gap", "temperature"), [(1.0, 1.0), (2.0, 4.0), (-0.5, 1.0)])
def test_the_share_of_choices_is_the_logistic_of_the_gap(gap: float, temperature: float) -> None:
    watcher = SegmentAnnotator(temperature=temperature)
    chosen = sum(watcher.compare(gap, 0.0, seed) == "a" for seed in range(4000)) / 4000
    want = 1 / (1 + math.exp(-gap / temperature))
    assert abs(chosen - want) < 3.5 * math.sqrt(want * (1 - want) / 4000)


def test_the_same_is_a_tie_and_the_same_question_has_the_same_answer() -> None:
    watcher = SegmentAnnotator()
    assert watcher.compare(3.0, 3.0, 1) == "tie"
    assert {watcher.compare(3.0, 2.5, 7) for _ in range(5)} == {watcher.compare(3.0, 2.5, 7)}


def test_without_a_temperature_there_is_no_probability() -> None:
    with pytest.raises(ValueError, match="above 0"):
        SegmentAnnotator(temperature=0.0)
