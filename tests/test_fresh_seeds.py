"""The bench of fresh seeds: every recipe is a case, what is known is skipped, pages say what was found."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from posttrain import settings
from posttrain.cli import find_recipe, recipes
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, addresses

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("fresh_cases")


@pytest.fixture
def page(cases: ModuleType) -> ModuleType:
    return importlib.import_module("fresh_page")


@pytest.fixture
def bench(page: ModuleType) -> ModuleType:
    return importlib.import_module("fresh_seeds")


@dataclass(frozen=True, kw_only=True)
class Evaluated(Stage):
    """Draws a figure from its seed, fails when asked to, and has a gate that does not pass."""

    address = "evaluate"
    seed: int = 0
    fate: str = "well"

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        if self.fate == "stopped":
            raise KeyboardInterrupt
        return Report(metrics={"gold/final": 0.5 + self.seed / 1000, "unknown": "unknown"})

    def gates(self, report: Report) -> list[Finding]:
        return [Finding(name="learned", value=0.0, threshold=1.0, passed=False, advice="wait")]


def test_every_recipe_is_measured_or_said_to_be_measured_elsewhere(cases: ModuleType) -> None:
    assert {case.recipe for case in cases.CASES} == set(recipes())
    assert len({case.key for case in cases.CASES}) == len(cases.CASES)
    for case in cases.CASES:
        assert (ROOT / "docs" / f"{case.page}.md").is_file()
        assert bool(case.figures) != bool(case.elsewhere)


def test_the_command_line_takes_every_case_and_its_stages_have_the_figures(cases: ModuleType) -> None:
    for case in cases.CASES:
        made = settings.expression(find_recipe(case.recipe), settings.parse(case.wishes(101)))
        assert {figure.name.partition(".")[0] for figure in case.figures} <= addresses(made).keys()
        assert len({figure.name for figure in case.figures}) == len(case.figures)
        for figure in case.figures:
            assert figure.interval is None or figure.interval[0] <= figure.interval[1]


def a_case(cases: ModuleType, *settings: str) -> Any:
    quoted = cases.Quoted("evaluate.gold/final", "gold of `final`", interval=(59.0, 61.0))
    return cases.Case("toy", "toy", "toy", settings, (quoted,))


def a_bench(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, place: Path) -> Any:
    def toy(seed: int = 0, fate: str = "well") -> Stage:
        return Evaluated(seed=seed, fate=fate)

    monkeypatch.setattr("posttrain.cli.find_recipe", lambda name: toy)
    monkeypatch.setattr(bench, "speed", lambda threads: 1.3e11)
    return bench.Bench(str(place / "work"), 1, quiet=True, results=place / "results")


def test_what_was_measured_is_skipped_until_its_settings_change(
    bench: ModuleType, cases: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, one = a_case(cases), a_bench(bench, monkeypatch, tmp_path)
    assert one.measured(case, 101) is None
    found = one.run(case, 101)
    assert found["figures"] == {"evaluate.gold/final": pytest.approx(0.601)}
    assert found["failed_gates"] == ["evaluate.learned"]
    assert one.measured(case, 101) == json.loads(one.file(case, 101).read_text())
    assert one.measured(case, 102) is None
    assert one.measured(replace(case, settings=("fate=changed",)), 101) is None
    monkeypatch.setattr(Evaluated, "version", 2)  # what it computes has changed
    assert one.measured(case, 101) is None


def test_a_run_that_is_stopped_leaves_no_result(
    bench: ModuleType, cases: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, one = a_case(cases, "fate=stopped"), a_bench(bench, monkeypatch, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bench.measure(one, [(case, 101)])
    assert not list(tmp_path.glob("results/*"))


def test_a_figure_that_a_run_does_not_have_is_named(
    bench: ModuleType, cases: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, one = a_case(cases), a_bench(bench, monkeypatch, tmp_path)
    wrong = replace(case, figures=(cases.Quoted("evaluate.gold/rl", "gold"),))
    with pytest.raises(SystemExit, match=r"no figure evaluate\.gold/rl"):
        one.run(wrong, 101)
    with pytest.raises(SystemExit, match="expected of"):
        bench.chosen("tulu4")
    assert {case.key for case in bench.chosen("tulu3,cartpole")} == {
        "tulu3",
        "cartpole_ppo",
        "cartpole_a2c",
        "cartpole_reinforce",
    }


def measured(value: float, gates: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "figures": {"evaluate.gold/final": value},
        "failed_gates": list(gates),
        "processor_seconds": 200.0,
        "threads": 1,
        "gflops": 130.0,
    }


def test_a_page_has_medians_and_ranges_and_names_what_is_outside(
    page: ModuleType, cases: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = a_case(cases)
    monkeypatch.setattr(page, "CASES", (case,))
    inside = {"toy": {seed: measured(0.58 + place / 100) for place, seed in enumerate(range(101, 106))}}
    assert page.flagged(inside) == []
    outside = {"toy": {101: measured(0.5), 103: measured(0.612, ("rl.reward_rose",)), 104: measured(0.9)}}
    (line,) = page.flagged(outside)
    assert "docs/toy.md" in line
    assert "61.2 % [50.0, 90.0]" in line
    (tmp_path / "docs").mkdir()
    path = tmp_path / "docs" / "toy.md"
    path.write_text("# Toy\n\nRead.\n\n## More\n\nNothing.\n")
    assert page.write(outside, tmp_path) == [path]
    told = path.read_text()
    assert told.startswith("# Toy\n\nRead.\n\n## More\n\nNothing.\n")
    assert "| gold of `final` | 61.2 % [50.0, 90.0] | **outside the 59.0 to 61.0 quoted" in told
    assert "seeds 101, 103, 104" in told
    assert "Gates that failed: `rl.reward_rose` on seed 103." in told
    assert "one thread at 130 GFLOP/s | 200 [200, 200]" in told
    assert page.write(outside, tmp_path) == []  # the same figures, the same bytes
    assert page.write(inside, tmp_path) == [path]
    again = path.read_text()
    assert again.count(page.BEGIN) == again.count(page.END) == 1
    assert "seeds 101 to 105" in again
    assert "outside" not in again
    assert page.write({}, tmp_path) == []
