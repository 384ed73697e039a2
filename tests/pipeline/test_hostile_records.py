"""Records that somebody edited, cut or made up; processes that were killed; what they leave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from posttrain import cli
from posttrain.checks import doctor
from posttrain.pipeline.circumstances import process, standing
from posttrain.pipeline.files import DEEPEST, lock, parsed
from posttrain.pipeline.shape import PRODUCT, RUN, misshapen
from posttrain.pipeline.store import Workspace, sealed
from posttrain.pipeline.trouble import trouble
from tests.bad_input.answer import outcome

RECIPE = """
from dataclasses import dataclass
from posttrain.pipeline.stage import Report, Stage

@dataclass(frozen=True, kw_only=True)
class Rows(Stage):
    address = "rows"
    def run(self, inputs, output, machine):
        (output / "rows").write_text("abc")
        return Report(metrics={"rows": 3}, notes=["a note"])

@dataclass(frozen=True, kw_only=True)
class Count(Stage):
    address = "count"
    rows: Stage
    def run(self, inputs, output, machine):
        (output / "count").write_text("3")
        return Report(metrics={"count": 3.0})

def counting() -> Stage:
    return Count(rows=Rows())
"""
COMMANDS = (
    ["list"],
    ["report"],
    ["report", "--json"],
    ["lineage", "count"],
    ["chat"],
    ["run", "counting.py"],
    ["run", "counting.py", "--dry-run"],
    ["run", "counting.py", "--remake", "rows"],
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counting.py").write_text(RECIPE)
    assert call("run", "counting.py", "--quiet") == 0
    return tmp_path / "workspace"


def call(*arguments: str) -> int:
    sys.modules.pop("counting", None)
    return cli.main(arguments)


def _value(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes a record and closes it as posttrain would, so that only its shape is wrong."""
    record = json.loads(file.read_text())
    file.write_text(json.dumps(sealed(change(record)) if file.name == "made.json" else change(record)))


RUNS: dict[str, Callable[[Path], Any]] = {
    "cut short": lambda file: file.write_text(file.read_text()[:40]),
    "empty": lambda file: file.write_text(""),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\0"),
    "a list": lambda file: file.write_text("[]"),
    "a number": lambda file: file.write_text("7"),
    "nested": lambda file: file.write_text('{"a": ' * 100_000),
    "half a surrogate": lambda file: file.write_text('{"recipe": "\\ud800", "products": {}}'),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "a device": lambda file: (file.unlink(), file.symlink_to("/dev/zero")),
    "stages null": lambda file: _value(file, lambda one: one | {"stages": None}),
    "stages of text": lambda file: _value(file, lambda one: one | {"stages": ["a"]}),
    "a stage without an address": lambda file: _value(
        file, lambda one: one | {"stages": [{"state": "waiting"}]}
    ),
    "findings of numbers": lambda file: _value(
        file, lambda one: one | {"stages": [{"address": "rows", "findings": [1]}]}
    ),
    "findings without a name": lambda file: _value(
        file, lambda one: one | {"stages": [{"address": "rows", "findings": [{"value": 1}]}]}
    ),
    "products a list": lambda file: _value(file, lambda one: one | {"products": ["rows"]}),
    "a product that is a number": lambda file: _value(file, lambda one: one | {"products": {"rows": 3}}),
    "a product elsewhere": lambda file: _value(file, lambda one: one | {"products": {"rows": "/"}}),
    "no products": lambda file: _value(file, lambda one: {"recipe": "x"}),
    "overrides a number": lambda file: _value(file, lambda one: one | {"overrides": 5}),
    "status a list": lambda file: _value(file, lambda one: one | {"status": ["finished"]}),
    "a process of text": lambda file: _value(
        file, lambda one: one | {"status": "running", "process": {"number": "1"}}
    ),
    "machine a list": lambda file: _value(file, lambda one: one | {"machine": [1]}),
    "times that are none": lambda file: _value(file, lambda one: one | {"started": "x", "finished": "y"}),
    "seconds without end": lambda file: _value(
        file, lambda one: one | {"stages": [{"address": "rows", "seconds": 1e999}]}
    ),
}
PRODUCTS: dict[str, Callable[[Path], Any]] = {
    "report a list": lambda file: _value(file, lambda one: one | {"report": []}),
    "figures a list": lambda file: _value(file, lambda one: one | {"report": {"figures": [1]}}),
    "a figure that is a list": lambda file: _value(
        file, lambda one: one | {"report": {"figures": {"a": [1]}}}
    ),
    "a figure that no float holds": lambda file: _value(
        file, lambda one: one | {"report": {"figures": {"a": 10**400}}}
    ),
    "a figure that is no number": lambda file: _value(
        file, lambda one: one | {"report": {"figures": {"a": float("nan"), "b": float("inf"), "c": None}}}
    ),
    "findings of other fields": lambda file: _value(
        file, lambda one: one | {"report": {"findings": [{"name": "a", "value": 1, "more": 2}, {}]}}
    ),
    "notes of numbers": lambda file: _value(file, lambda one: one | {"report": {"notes": [1]}}),
    "settings text": lambda file: _value(file, lambda one: one | {"settings": "a"}),
    "inputs without fields": lambda file: _value(file, lambda one: one | {"inputs": [{}]}),
    "inputs of numbers": lambda file: _value(file, lambda one: one | {"inputs": [7]}),
    "ancestors of itself": lambda file: _value(
        file,
        lambda one: (
            one
            | {
                "inputs": [{"field": "a", "fingerprint": "f"}],
                "ancestors": {"f": {"address": "a", "inputs": [{"field": "b", "fingerprint": "f"}]}},
            }
        ),
    ),
    "ancestors a list": lambda file: _value(file, lambda one: one | {"ancestors": [1]}),
    "seconds text": lambda file: _value(file, lambda one: one | {"seconds": "long"}),
    "seconds without end": lambda file: _value(file, lambda one: one | {"seconds": 1e999}),
    "a stage that is a number": lambda file: _value(file, lambda one: one | {"stage": 3}),
    "files a list": lambda file: _value(file, lambda one: one | {"files": ["a"]}),
    "files elsewhere": lambda file: _value(file, lambda one: one | {"files": {"../../x": "0"}}),
    "versions of lists": lambda file: _value(file, lambda one: one | {"versions": {"a": []}}),
    "code a list": lambda file: _value(file, lambda one: one | {"code": []}),
    "cut short": lambda file: file.write_text(file.read_text()[:40]),
    "nested": lambda file: file.write_text("[" * 100_000),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
}
CASES = [("run", name) for name in RUNS] + [("product", name) for name in PRODUCTS]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_record_that_somebody_made_up_is_told_in_a_sentence(home: Path, kind: str, name: str) -> None:
    change = RUNS[name] if kind == "run" else PRODUCTS[name]
    (file,) = home.glob("runs/*/run.json" if kind == "run" else "products/count-*/made.json")
    change(file)
    for command in COMMANDS:
        sys.modules.pop("counting", None)
        outcome(command, home, codes=(0, 2), made=("rows", "count"))


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "3",
        '{"x": 1}',
        '{"%s": 1}',
        '{"%s": [1]}',
        '{"%s": [1, 2, 3, null]}',
        '{"%s": {"a": 1}}',
        "[" * 9999,
    ],
)
def test_hashes_that_somebody_made_up_are_made_again(home: Path, text: str) -> None:
    (product,) = home.glob("products/rows-*/rows")
    (home / "hashes.json").write_text(text.replace("%s", str(product)))
    assert call("run", "counting.py") == 0
    digest = Workspace(home).hash_file(product)
    assert len(digest) == 64


def test_the_shapes_of_records_say_where_they_are_not_met() -> None:
    assert misshapen({"report": {"notes": ["a", None]}}, PRODUCT) == "report.notes[1] is null, expected text"
    assert (
        misshapen({"stages": [{"seconds": True}]}, RUN)
        == "stages[0].seconds is true or false, expected a number"
    )
    assert misshapen({"seconds": float("inf")}, RUN) == (
        "seconds is a number beyond those, expected a number between -9e+18 and 9e+18"
    )
    assert misshapen([], RUN) == "it is a list, expected an object"
    assert misshapen({"anything": object(), "seconds": 1}, PRODUCT) == ""


def test_json_is_as_deep_as_is_said() -> None:
    assert parsed("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(ValueError, match="nested more than 64"):
        parsed("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))
    with pytest.raises(ValueError, match="nested more than 64"):
        parsed('{"a": ' * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1))
    assert parsed('["' + "[" * 500 + '"]') == ["[" * 500]
    with pytest.raises(ValueError, match="surrogate"):
        parsed('"\\uDC00"')
    assert parsed('"\\ud83d\\ude00"') == "😀"


def _ended() -> int:
    with subprocess.Popen(["true"]) as short:
        short.wait()
    return short.pid


def test_a_run_that_was_killed_is_shown_as_such(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = home.glob("runs/*/run.json")
    for known, shown in (
        (process(), "running"),
        (process() | {"number": _ended()}, "killed"),
        (process() | {"began": "1"}, "killed"),  # another process of the same number
        (process() | {"number": _ended(), "machine": "elsewhere"}, "running"),
    ):
        _value(file, lambda one, known=known: one | {"status": "running", "process": known})  # type: ignore[misc]
        capsys.readouterr()
        assert call("list") == 0
        assert re.search(rf"^1 +counting +{shown} ", capsys.readouterr().out, re.MULTILINE)
        assert call("report") == 0
        assert f"status: {shown}" in (file.parent / "report.html").read_text()
    assert standing({"status": "finished", "process": {"number": _ended()}}) == "finished"


def test_what_killed_processes_left_is_removed_and_nothing_else(home: Path) -> None:
    (run,) = home.glob("runs/*")
    gone, here = _ended(), os.getpid()
    left = [run / f".run.json.{gone}", run / f".report.html.{gone}", home / f".hashes.json.{gone}"]
    kept = [run / f".run.json.{here}", home / ".mine.txt", home / f".notes.{gone}", run / "NOTES.md"]
    for file in (*left, *kept):
        file.write_text("half")
        os.utime(file, (time.time() - 3600,) * 2)
    fresh = home / f".pins.json.{gone}"  # of another machine, it may be
    fresh.write_text("half")
    kept.append(fresh)
    stale = home / "products" / ".stale-rows-0123456789ab"
    stale.mkdir()
    (stale / "weights").write_text("old")
    assert call("run", "counting.py") == 0
    assert not any(file.exists() for file in (*left, stale))
    assert all(file.exists() for file in kept)


def test_a_half_written_product_is_removed_unless_its_maker_is_at_it(home: Path) -> None:
    """Locked, or written to within a day: a lock may hold on another machine only."""
    (home / "products").mkdir(parents=True, exist_ok=True)
    left, held, elsewhere = (home / "products" / f".making-rows-{number * 12}" for number in "012")
    for place in (left, held, elsewhere):
        place.mkdir()
        (place / "weights").write_text("half")
        if place != elsewhere:
            for path in (place / "weights", place):
                os.utime(path, (time.time() - 2 * 24 * 3600,) * 2)
    with lock(held.with_name(f".{held.name.removeprefix('.making-')}.lock"), "rows"):
        Workspace(home).sweep()
    assert not left.exists()
    assert (held / "weights").exists()
    Workspace(home).sweep()
    assert not held.exists()
    assert list((home / "products").glob(".*")) == [elsewhere]


def test_the_doctor_removes_what_killed_rehearsals_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone, mine, other = (
        tmp_path / f"{doctor.SCRATCH}{name}" for name in (f"{_ended()}-a", f"{os.getpid()}-b", "x")
    )
    for place in (gone, mine, other):
        place.mkdir()
        (place / "weights").write_text("w")
    link = tmp_path / f"{doctor.SCRATCH}{_ended()}-link"
    link.symlink_to(other)
    doctor._sweep()
    assert not gone.exists()
    assert (mine / "weights").exists()
    assert (other / "weights").exists()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "/w/model"), "/w/model: the disk is full"),
        (OSError(122, "Disk quota exceeded"), "the workspace: the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the workspace: the disk is full"),
        (
            RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0"),
            "the disk is full",
        ),
        (
            RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
            "the disk is full",
        ),
        (OSError(27, "File too large", "/w/model"), "/w/model: larger than this machine lets a file be"),
        (
            SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
            "the workspace: larger than this machine lets a file be",
        ),
        (PermissionError(13, "Permission denied", "/w/x"), "/w/x: Permission denied; make it writable"),
        (OSError(30, "Read-only file system", "/w/x"), "/w/x: Read-only file system; make it writable"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (ConnectionRefusedError(111, "Connection refused"), ""),
        (PermissionError(13, "Permission denied"), ""),
        (FileNotFoundError(2, "No such file or directory", "/w/x"), ""),
        (KeyError("missing"), ""),
    ],
)
def test_trouble_of_the_machine_is_told_however_it_is_said(error: Exception, told: str) -> None:
    said = trouble(error)
    assert said == "" if not told else told in said
    wrapped = ValueError("while saving")
    wrapped.__cause__ = error
    assert trouble(wrapped) == said
