"""The bench of cartpole_from_preferences: its cases, going on where it stopped, and the text of its page."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from posttrain import settings
from posttrain.cli import find_recipe
from posttrain.pipeline.stage import addresses

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # which the module sets
        monkeypatch.setenv(variable, "1")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("bench_cartpole_preferences")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.json")
    return module


def run(sampled: float, fingerprint: str = "", **more: Any) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "seconds": 60.0,
        "cpu_seconds": 30.0,
        "gflops": 100.0,
        "sampled": sampled,
        "greedy": 500.0,
        "random": 22.0,
        "comparisons": 1480,
        "tilted": 10,
        "left_the_track": 30,
        "curve": [20, 100, 500],
        **more,
    }


def test_each_case_of_the_ablation_takes_something_from_the_recipe(bench: ModuleType) -> None:
    recipe, found = addresses(find_recipe(bench.CASES[0].command(0)[0])(seed=0)), []
    for case in bench.CASES[1:]:
        _, *overrides = case.command(0)
        stage = addresses(
            settings.expression(find_recipe("cartpole_from_preferences"), settings.parse(overrides))
        )
        assert stage["rl"] != recipe["rl"], case.name
        assert stage["evaluate"].control == (case.accepts == ())  # a gate that is not there is refused
        found.append(stage["rl"])
    assert len(set(map(repr, found))) == len(found)
    assert bench.seeds_of("3,1001-1003") == [3, 1001, 1002, 1003]
    with pytest.raises(SystemExit, match="expected a number or a range"):
        bench.seeds_of("a-3")


def test_what_is_measured_with_these_settings_is_not_measured_again(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = bench.Bench(tmp_path / "work")
    learned, made = bench.CASES[0], []

    def fake(self: Any, case: Any, seed: int) -> dict[str, Any]:
        made.append((case.name, seed))
        measured = run(400.0 + seed, self.fingerprint(case, seed))
        directory = self.directory / f"{case.name}-{seed}"
        directory.mkdir(parents=True)
        (directory / "measured.json").write_text(json.dumps(measured))
        return measured

    monkeypatch.setattr(bench.Bench, "run", fake)
    stale = {"learned": {"7": run(9.0, "of other settings"), "8": run(480.0, one.fingerprint(learned, 8))}}
    bench.RESULTS.write_text(bench.as_text(stale))
    command = [
        "bench",
        "--cases",
        "learned,constant",
        "--seeds",
        "7-9",
        "--workspace",
        str(tmp_path / "work"),
    ]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", command)
        bench.main()
    assert made == [("learned", 7), ("learned", 9), ("constant", 7), ("constant", 8), ("constant", 9)]
    results = json.loads(bench.RESULTS.read_text())["runs"]
    assert [seed for seed in results["learned"]] == ["7", "8", "9"]
    assert results["learned"]["7"]["sampled"] == 407
    assert one.current(stale) == {"learned": {"8": stale["learned"]["8"]}}


def test_the_page_gives_the_whole_distribution(bench: ModuleType) -> None:
    page = importlib.import_module("preferences_page")
    runs = {
        "learned": {
            str(seed): run(value) for seed, value in zip(range(1, 6), (500, 480, 350, 500, 490), strict=True)
        },
        "shuffled": {str(seed): run(9.0 + seed) for seed in (1, 2, 5)},
        "no_zero": {"801": run(120.0)},
    }
    text = page.section(runs)
    assert "4 of 5 reach 400" in text
    assert "| the recipe | 1–5 | 350 | 480 | 490 | 500 | 500 | 4 | 5 |" in text
    assert "| every choice by a coin | 1–2, 5 | 10 | 10 | 11 | 12 | 14 | 0 | 0 |" in text
    assert "All 5 returns: 350, 480, 490, 500, 500." in text
    assert "| 801 | 120 |" in text.partition("### One part less")[2]
    words = " ".join(text.split())
    assert (
        "Below 400: seed 3. Of their 100 plays the cart left the track in 30 and the pole tilted in 10."
        in words
    )
    assert "Greedy play reaches 400 on 5. A run asks 1 480 comparisons. It takes 30 s" in words
    assert page.picture(runs).count("<circle") == 5 + 3
    assert page.picture(runs).count('class="run"') == 5
