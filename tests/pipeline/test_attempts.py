"""A product that took several attempts: what is gone on from, what is told, and what made.json says of it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from posttrain.pipeline.attempts import read_attempts
from posttrain.pipeline.runner import Run, StageFailed, run
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.pipeline.store import Workspace
from posttrain.storage.chunks import Chunks, in_chunks, ranges


class Interrupted(Exception):
    """Stands for a kill: whatever the stage had in memory is lost."""


@dataclass(frozen=True, kw_only=True)
class Source(Stage):
    """Rows whose text does not count in the fingerprint of what reads them: a product may be made again with
    other bits.
    """

    address = "source"
    amount: int = 6

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        text = (machine.workspace or output).joinpath("text.txt").read_text()
        (output / "text").write_text(text)
        return Report(metrics={})


@dataclass(frozen=True, kw_only=True)
class Slow(Stage):
    """Makes its rows one by one; the numbers of those it made are written to ``made.txt`` of a workspace."""

    address = "slow"
    source: Source

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        assert machine.workspace is not None
        limit, text = machine.workspace / "limit.txt", (inputs["source"].path / "text").read_text()

        def make(piece: range) -> str:
            if limit.exists() and piece.start >= int(limit.read_text()):
                raise Interrupted
            with (machine.workspace or output).joinpath("made.txt").open("a") as log:
                log.write(f"{piece.start} ")
            return f"{text}-{piece.start}"

        rows = list(in_chunks(Chunks(machine.scratch, "rows"), ranges(self.source.amount, 1), make))
        (output / "rows").write_text("\n".join(rows))
        return Report(metrics={"rows": len(rows)})


class Bench:
    def __init__(self, directory: Path) -> None:
        self.workspace, self.lines = Workspace(directory), list[str]()
        directory.mkdir(exist_ok=True)
        self.write("text.txt", "a")

    def write(self, name: str, text: str) -> None:
        (self.workspace.root / name).write_text(text)

    def run(self, limit: int | None = None, **options: Any) -> Run:
        self.lines.clear()
        self.write("made.txt", "")
        (self.workspace.root / "limit.txt").unlink(missing_ok=True)
        if limit is not None:
            self.write("limit.txt", str(limit))
        machine = Machine(quiet=True, **options.pop("machine", {}))
        return run(Slow(source=Source()), self.workspace, machine, say=self.lines.append, **options)

    def interrupted(self, limit: int, **options: Any) -> None:
        with pytest.raises(StageFailed):
            self.run(limit, **options)

    @property
    def made(self) -> list[int]:
        """The chunks that the last run made."""
        return [int(number) for number in (self.workspace.root / "made.txt").read_text().split()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def scratch(self) -> list[str]:
        return [path.name for path in self.workspace.scratch.glob("*")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "workspace")


def test_it_goes_on_where_it_was_and_made_json_has_all_attempts(bench: Bench) -> None:
    bench.interrupted(2)
    bench.interrupted(3)
    product = bench.run().products["slow"]
    assert bench.made == [3, 4, 5]
    assert "goes on from chunk 3 of 6 of rows" in bench.text
    assert (product.path / "rows").read_text() == "\n".join(f"a-{n}" for n in range(6))
    attempts = product.made["attempts"]
    assert [one["resumed"] for one in attempts] == [[], ["chunk 2 of 6 of rows"], ["chunk 3 of 6 of rows"]]
    assert product.made["seconds"] == pytest.approx(sum(one["seconds"] for one in attempts))
    assert product.made["started"] == attempts[0]["started"] <= product.made["finished"]
    assert bench.scratch == []


def test_one_attempt_is_not_told_of(bench: Bench) -> None:
    made = bench.run().products["slow"].made
    assert "attempts" not in made
    assert made["seconds"] >= 0


def test_inputs_of_other_bits_begin_anew_and_say_why(bench: Bench) -> None:
    bench.interrupted(3)
    bench.write("text.txt", "b")
    product = bench.run(remake=["source"]).products["slow"]
    assert (product.path / "rows").read_text() == "\n".join(f"b-{n}" for n in range(6))
    assert "other inputs" in bench.text


def test_changed_code_goes_on_and_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.interrupted(3)
    file = bench.workspace.scratch / bench.scratch[0] / "attempts.json"
    attempts = json.loads(file.read_text())
    attempts[-1]["code"]["posttrain.core.masked"] = "another"
    file.write_text(json.dumps(attempts))
    product = bench.run().products["slow"]
    assert bench.made == [3, 4, 5]
    assert "posttrain.core.masked" in bench.text
    assert any("posttrain.core.masked" in line for line in product.made["attempts"][-1]["changed"])


@pytest.mark.parametrize(
    ("option", "value"), [("threads", 7), ("micro_batch_tokens", 123), ("device", "meta")]
)
def test_another_way_of_computing_is_told(bench: Bench, option: str, value: Any) -> None:
    bench.interrupted(3)
    bench.run(machine={option: value})
    assert f"{option} " in bench.text
    assert "the same bits are not promised" in bench.text


def test_remake_does_not_go_on_from_what_made_the_product_that_stands(bench: Bench) -> None:
    bench.run()
    bench.interrupted(4, remake=["slow"])
    assert bench.made == [0, 1, 2, 3]
    bench.run(remake=["slow"])  # the same command after a kill: it goes on
    assert bench.made == [4, 5]
    bench.run(remake=["slow"])
    assert bench.made == [0, 1, 2, 3, 4, 5]


def test_killed_between_product_and_scratch_the_scratch_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr("posttrain.pipeline.attempts.Attempts.remove", killed)
        for _ in range(2):  # of the source, then of what reads it
            with pytest.raises(StageFailed):
                bench.run()
    assert len(bench.scratch) == 1
    bench.run()
    bench.run()
    assert bench.made == []  # the product of the killed run is there
    assert bench.scratch == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["a pipe", "endless", "absent", "a directory"])
def test_a_record_that_cannot_be_read_keeps_no_product_from_being_made_again(bench: Bench, kind: str) -> None:
    record = bench.run().products["slow"].path / "made.json"
    record.unlink()
    if kind == "a pipe":
        os.mkfifo(record)
    elif kind == "endless":
        record.symlink_to("/dev/zero")
    elif kind == "a directory":
        record.mkdir()
    bench.run(remake=["slow"])
    assert bench.made == [0, 1, 2, 3, 4, 5]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["rows.chunks", "attempts.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_read(bench: Bench, name: str) -> None:
    bench.interrupted(3)
    file = bench.workspace.scratch / bench.scratch[0] / name
    file.unlink()
    os.mkfifo(file)
    product = bench.run().products["slow"]
    assert (product.path / "rows").read_text() == "\n".join(f"a-{n}" for n in range(6))


@pytest.mark.parametrize("damage", ["", "{", "[1, 2]", '[{"seconds": "x", "code": 3}]', "null"])
def test_a_damaged_record_of_attempts_loses_times_alone(bench: Bench, damage: str) -> None:
    bench.interrupted(3)
    (bench.workspace.scratch / bench.scratch[0] / "attempts.json").write_text(damage)
    bench.run()
    assert bench.made == [3, 4, 5]


def test_a_changed_setting_is_another_product_and_leaves_the_scratch(bench: Bench) -> None:
    bench.interrupted(3)
    before = bench.scratch
    stage = Slow(source=replace(Source(), amount=5))
    (bench.workspace.root / "limit.txt").unlink()
    run(stage, bench.workspace, Machine(quiet=True), say=bench.lines.append)
    assert set(before) <= set(bench.scratch)
    (left,) = [read_attempts(bench.workspace.scratch / name) for name in bench.scratch]
    assert len(left) == 1
