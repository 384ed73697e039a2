"""What a report claims of play, and of what changed: no more than its intervals and signs allow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from posttrain.report import page
from posttrain.report.dots import Change, dumbbells
from tests.report import fabricated


@pytest.mark.parametrize(("half", "apart"), [(10.0, True), (45.0, False)])
def test_play_is_told_from_chance_only_where_the_intervals_are_apart(
    tmp_path: Path, half: float, apart: bool
) -> None:
    metrics = fabricated.interval("return/policy", 100.0, half)
    metrics |= fabricated.interval("return/random", 22.0, half)
    directory = fabricated.run(tmp_path, {"evaluate": {"metrics": metrics}}, {})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "The policy earns 100 a play" in html
    assert ("from which it cannot be told apart" not in html) == apart


def test_components_are_drawn_from_before_to_after(tmp_path: Path) -> None:
    metrics = {"gold/sft/right": 0.25, "gold/final/right": 0.75, "gold/sft/manner": 0.9}
    metrics |= {"gold/final/manner": 0.6}
    directory = fabricated.run(tmp_path, {"evaluate": {"metrics": metrics}}, {})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8").replace("\u202f", "")
    assert re.search(r"25\.0% → 75\.0%\s+\+50\.0", html)
    assert re.search(r"90\.0% → 60\.0%\s+−30\.0\s+fell", html)


@pytest.mark.parametrize(("after", "marked"), [(0.9, False), (0.47, False), (0.3, True)])
def test_a_fall_is_marked_where_it_is_one(after: float, marked: bool) -> None:
    drawn = dumbbells([Change(label="x", before=0.5, after=after)], "SFT", "final")
    assert ("fell" in drawn) == ("value bad" in drawn) == marked
