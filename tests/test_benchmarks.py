"""The bench of the embedded task: no method is left out, settings are taken, the page says what was found."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from posttrain import settings
from posttrain.cli import find_recipe
from posttrain.pipeline.stage import addresses

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("embedded_cases")


@pytest.fixture
def page(cases: ModuleType) -> ModuleType:
    return importlib.import_module("embedded_page")


def test_every_method_is_measured(cases: ModuleType) -> None:
    asked = {(case.folder, case.method) for case in cases.CASES if not case.label}
    there = {
        (folder, path.stem)
        for folder in cases.ADDRESS
        for path in (ROOT / "posttrain" / folder).glob("[!_]*.py")
    }
    assert asked == {one for one in there if one[1] != "base"} - {
        ("direct_alignment", "sft")  # what all the others begin with
    }
    assert len({case.title for case in cases.CASES}) == len(cases.CASES)


def test_the_command_line_takes_the_settings_of_every_case(cases: ModuleType) -> None:
    for case in cases.CASES:
        wishes = settings.parse(case.wishes(3, whole=False, teacher="somewhere"))
        stages = addresses(settings.expression(find_recipe(cases.RECIPE[case.folder]), wishes))
        method = stages[cases.ADDRESS[case.folder]].method
        assert type(method).__name__.lower() == case.method.replace("_", "")
        assert not {"sft_4x", "rm_shuffled"} & stages.keys()
        assert stages["evaluate"].rows == 400
        assert ("teacher" in stages) == bool(case.after)


def measured(change: float, half: float = 0.03, **more: Any) -> dict[str, Any]:
    return {
        "gold_change/final_vs_sft": [change, change - half, change + half],
        "gold/sft": [0.4, 0.37, 0.43],
        "gold/final": [0.4 + change, 0.37 + change, 0.43 + change],
        "win_rate/final_vs_sft": [0.6, 0.55, 0.65],
        "kl": [2.0, 1.9, 2.1],
        "words": [9.0, 8.0],
        "seconds": 60.0,
        "seconds_before": 70.0,
        "seconds_rm": 30.0,
        "threads": 1,
        "prompts": 400,
        "seed": 0,
        "whole": False,
        "failed_gates": [],
        **more,
    }


def test_only_a_gain_outside_its_interval_is_called_one(page: ModuleType) -> None:
    assert [page.verdict(measured(x)) for x in (0.2, 0.02, -0.02, -0.2)] == ["yes", "even", "even", "no"]


def test_a_method_that_failed_is_named_with_its_reason(page: ModuleType) -> None:
    found = {"dpo": measured(0.2), "grpo as published": measured(-0.1, failed_gates=["rl_kl_budget"])}
    text = page.section(found)
    assert text.index("methods/dpo.md") < text.index("methods/grpo.md")  # the best first
    assert "| 60.0 | +20.0 [+17.0, +23.0] |" in text
    failed = text.partition("### Where gold did not rise")[2]
    assert "**grpo as published**: gold fell" in failed
    assert "`rl_kl_budget` failed" in failed
    assert "**dpo**" not in failed
    assert "Not measured with this base model yet: ppo" in text
    assert page.picture(found).count("<circle") == 2


def test_a_section_takes_the_place_of_its_old_self_and_nothing_else(page: ModuleType) -> None:
    old = "# Which?\n\nRead.\n\n## Measured\n\nold\n\n### More\n\nold\n\n## Three warnings\n\nNone.\n"
    new = page.with_section(old, "Measured", "fresh\n")
    assert new == "# Which?\n\nRead.\n\n## Measured\n\nfresh\n\n## Three warnings\n\nNone.\n"
    assert page.with_section(new, "Measured", "fresh") == new
    added = page.with_section("# Which?\n", "Measured", "fresh")
    assert added == "# Which?\n\n## Measured\n\nfresh\n" == page.with_section(added, "Measured", "fresh")
