"""The page of speeds: a figure that falls short says so, and one that was not taken is not invented."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    found = importlib.import_module("speed_page")
    monkeypatch.setattr(found, "RESULTS", tmp_path)
    return found


def test_rows_are_met_short_or_not_measured(page: ModuleType, tmp_path: Path) -> None:
    (tmp_path / f"training-{page.SMOL}-float32-float32.json").write_text(
        json.dumps({"sft": {"ratio": 2.0}, "grpo": {"ratio": 1.9}})
    )
    verdicts = {row.title: page.verdict(row) for row in page.rows()}
    assert verdicts["SFT, fp32"] == "met"
    assert verdicts["GRPO, whole step, fp32"] == "short"
    assert verdicts["SFT, across"] == "not measured"
    text = page.page()
    assert "| SFT, fp32 | 1.8 × | 2.00 × | met |  |" in text
    assert "| SFT, across | 2.6 × |  | not measured |  |" in text
    assert page.picture().count("<circle") == 2


def test_what_was_limited_to_avx2_stands_apart(page: ModuleType, tmp_path: Path) -> None:
    (tmp_path / f"training-{page.SMOL}-float32-float32-avx2.json").write_text(
        json.dumps({"sft": {"ratio": 1.7, "most": 4.0, "processor": "Intel x"}})
    )
    assert {row.title: page.verdict(row) for row in page.narrow_rows()}["SFT"] == "short"
    apart = page.page().partition("## With AVX2 only")[2]
    assert "| SFT | 1.8 × | 1.70 × | short | 4.00 × | Intel |" in apart
    assert {page.verdict(row) for row in page.rows()} == {"not measured"}
