"""Five methods on the embedded model through the command line: held-out gold rises, outside its interval."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from posttrain.cli import main

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = ("demonstrations.rows=4000", "pairs.rows=600", "evaluate.rows=400", "evaluate.best_of=1")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that what comes before the methods is made once."""
    return tmp_path_factory.mktemp("workspace")


@pytest.mark.parametrize("name", ["ppo", "grpo", "rloo", "dpo", "kto"])
def test_gold_rises(
    name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    cases = importlib.import_module("embedded_cases")
    case = next(one for one in cases.CASES if one.title == name)
    address = cases.ADDRESS[case.folder]
    steps = ("rl.steps=16",) if address == "rl" else ()
    command = ["run", cases.RECIPE[case.folder], f"{address}.method={name}", *case.settings, *SMALL, *steps]
    assert main([*command, "--workspace", str(workspace), "--quiet"]) == 0

    capsys.readouterr()
    assert main(["report", "--json", "--workspace", str(workspace)]) == 0
    metrics: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert metrics["evaluate.gold_change/final_vs_sft_n"] == 400
    assert metrics["evaluate.gold_change/final_vs_sft_low"] > 0
    assert metrics["evaluate.win_rate/final_vs_sft_low"] > 0.5
    assert metrics["evaluate.kl"] < 10
    page = max(workspace.glob("runs/*/report.html"), key=lambda path: path.stat().st_mtime)
    told = page.read_text("utf-8")
    assert "The final model is better than SFT" in told
    assert ("a reward model that it never saw" in told) == (address != "rl")
