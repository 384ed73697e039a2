"""A user's own files: looked at before anything is made, bad rows named or left out, and counted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from posttrain.cli import main
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Product, Stage
from posttrain.pipeline.store import Workspace
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.prompts import PromptRows, PromptsOf

GOOD = {
    DemonstrationRows: [{"prompt": f"q{n}", "completion": "yes"} for n in range(20)],
    ComparisonRows: [{"prompt": f"q{n}", "chosen": "yes", "rejected": "no"} for n in range(20)],
    PromptRows: [{"prompt": f"q{n}"} for n in range(20)],
}


def write(path: Path, rows: list[Any]) -> SourceFile:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return SourceFile(str(path), "datasets")


def made(stage: Stage, tmp_path: Path) -> Product:
    found = run(stage, Workspace(tmp_path / "work"), Machine(), say=lambda text: None)
    return next(iter(reversed(found.products.values())))


@pytest.mark.parametrize("kind", GOOD)
def test_bad_rows_stop_it_or_are_left_out_counted_and_named(kind: type[Any], tmp_path: Path) -> None:
    source = write(
        tmp_path / "rows.jsonl", [*GOOD[kind], {**GOOD[kind][0], "prompt": 7}, ["x"], GOOD[kind][3]]
    )
    with pytest.raises(UserError, match=r"(?s)line 22: .*row 21: prompt is a number.*21 rows.*--skip-bad"):
        made(kind(source=source), tmp_path)
    assert not (tmp_path / "work").exists()
    report = made(kind(source=source, skip_bad=True), tmp_path).report
    assert report.values["skipped"] == 2
    assert report.values["duplicates"] == (0 if kind is ComparisonRows else 1)  # there they are votes
    assert re.search(r"(?s)2 bad rows were left out.*row 21: prompt is a number", report.notes[0])
    # a prompt is practised once, judgements of one pair are counted together
    dropped = 1 if kind in (PromptRows, ComparisonRows) else 0
    assert report.values["rows"] + report.values["heldout_rows"] == 21 - dropped


@pytest.mark.parametrize("kind", GOOD)
def test_the_first_so_many_rows_and_a_rehearsal_of_a_few(kind: type[Any], tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", GOOD[kind])
    metrics = made(kind(source=source, rows=5), tmp_path).values
    assert metrics["rows"] + metrics["heldout_rows"] == 5
    metrics = made(kind(source=source).rehearsal(), tmp_path).values
    assert metrics["rows"] + metrics["heldout_rows"] == 16
    assert min(metrics["rows"], metrics["heldout_rows"]) > 0


def test_a_copy_with_another_id_is_a_copy_and_of_a_comparison_a_vote(tmp_path: Path) -> None:
    rows = [{"id": f"row {n}", "prompt": f"q{n % 8}", "chosen": "yes", "rejected": "no"} for n in range(12)]
    metrics = made(ComparisonRows(source=write(tmp_path / "rows.jsonl", rows)), tmp_path).values
    assert (metrics["duplicates"], metrics["rows"] + metrics["heldout_rows"]) == (0, 8)
    talks = [{"id": row["id"], "prompt": row["prompt"], "completion": "yes"} for row in rows]
    metrics = made(DemonstrationRows(source=write(tmp_path / "talks.jsonl", talks)), tmp_path).values
    assert (metrics["duplicates"], metrics["rows"] + metrics["heldout_rows"]) == (4, 12)


def test_prompts_that_come_twice_in_other_rows_are_counted(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n % 10}", "completion": f"yes {n}"} for n in range(20)]
    shown = DemonstrationRows(source=write(tmp_path / "rows.jsonl", rows), heldout_share=0.5)
    metrics = made(PromptsOf(rows=shown), tmp_path).values
    assert metrics["duplicates"] == 10
    assert metrics["rows"] + metrics["heldout_rows"] == 10


def test_all_files_are_told_together_before_the_base_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ExistingModel, "run", lambda *_: pytest.fail("the base was made first"))
    write(Path("a.jsonl"), [{"messages": []}])
    write(Path("b.jsonl"), [{"prompt": "q", "chosen": "same", "rejected": "same"}])
    Path("c.jsonl").write_text("")
    Path("model").mkdir()
    files = ["base=model", "demonstrations=a.jsonl", "comparisons=b.jsonl", "prompts=c.jsonl"]
    for option in ([], ["--dry-run"], ["--skip-bad"]):
        assert main(["run", "instructgpt", *files, *option]) == 2
        told = capsys.readouterr().err
        for part in (
            "stage base: model: no config.json",
            "stage demonstrations: a.jsonl: row 1: messages is an empty list",
            "stage labels: b.jsonl: row 1: rejected is the same as chosen",
            "stage prompts: c.jsonl: 0 rows",
        ):
            assert part in told, option
    assert not Path("workspace").exists()


def test_skip_bad_on_the_command_line_reaches_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, kind in (("a", DemonstrationRows), ("b", ComparisonRows), ("c", PromptRows)):
        write(Path(f"{name}.jsonl"), [*GOOD[kind], {}])
    files = ["demonstrations=a.jsonl", "comparisons=b.jsonl", "prompts=c.jsonl"]
    files += ["sft.batch_size=8", "rm.batch_size=8"]
    assert main(["run", "instructgpt", *files, "--dry-run"]) == 2
    assert main(["run", "instructgpt", *files, "--dry-run", "--skip-bad"]) == 0
    assert "to make" in capsys.readouterr().out
