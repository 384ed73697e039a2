"""What is read from the hub is what the fingerprint says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posttrain.data import rows
from posttrain.pipeline import sources
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.pipeline.store import Workspace
from posttrain.stages.demonstrations import DemonstrationRows

TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def test_a_hub_data_set_is_read_at_the_commit_that_was_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = {"commit": "1" * 40}
    asked: list[tuple[str, str | None]] = []

    def from_hub(source: str, revision: str | None) -> list[dict[str, Any]]:
        asked.append((source, revision))
        return [{"messages": TALK}]

    monkeypatch.setattr(sources, "_newest_commit", lambda kind, name: newest["commit"])
    monkeypatch.setattr(rows, "_from_hub", from_hub)
    source = SourceFile("someone/talks:test", "datasets")
    before = source.identity(Workspace(tmp_path))
    newest["commit"] = "2" * 40  # the owner changes it later
    assert source.identity(Workspace(tmp_path)) == before
    stage = DemonstrationRows(source=source, heldout_share=0.0)
    (tmp_path / "out").mkdir()
    stage.run(Inputs({}), tmp_path / "out", Machine(workspace=tmp_path))
    assert asked == [("someone/talks:test", "1" * 40)]


def test_a_file_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    assert SourceFile(str(tmp_path / "rows.jsonl"), "datasets").revision(tmp_path) is None
