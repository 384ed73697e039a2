"""What the real small model has to show is judged by its figures, and what is not known is not met."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOOD: dict[str, Any] = {
    "evaluate.comparisons_gold_tied_share": 0.02,
    "evaluate.accuracy/clear": 0.87,
    "evaluate.accuracy/clear_n": 450,
    "evaluate.accuracy_on_policy": 0.78,
    "evaluate.control/bag_of_words/clear": 0.79,
    "evaluate.win_rate/final_vs_sft": 0.75,
    "evaluate.win_rate/final_vs_sft_low": 0.69,
    "evaluate.prompts": 240,
    "evaluate.kl": 2.2,
    "evaluate.family_change_worst": 0.01,
    "minutes": 35.0,
}
BAD: dict[str, Any] = {
    "evaluate.comparisons_gold_tied_share": 0.3,
    "evaluate.accuracy/clear": 0.83,
    "evaluate.accuracy/clear_n": 200,
    "evaluate.accuracy_on_policy": 0.7,
    "evaluate.control/bag_of_words/clear": 0.84,
    "evaluate.win_rate/final_vs_sft": 0.6,
    "evaluate.win_rate/final_vs_sft_low": 0.55,
    "evaluate.prompts": 100,
    "evaluate.kl": 5.0,
    "evaluate.family_change_worst": -0.02,
    "minutes": 60.0,
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("bench_smollm2")


def test_all_is_met_by_good_figures_and_each_fails_by_its_own(bench: ModuleType) -> None:
    assert all(wanted.met(GOOD) for wanted in bench.REQUIREMENTS)
    for name, value in BAD.items():
        missed = [wanted for wanted in bench.REQUIREMENTS if not wanted.met({**GOOD, name: value})]
        assert missed, name
        assert all(name in (wanted.figure, wanted.beyond) for wanted in missed)


def test_what_is_not_known_is_not_met(bench: ModuleType) -> None:
    assert all(wanted.met({}) is None for wanted in bench.REQUIREMENTS)
    unknown = {**GOOD, "evaluate.accuracy/clear": "unknown"}
    assert sum(wanted.met(unknown) is None for wanted in bench.REQUIREMENTS) == 2
