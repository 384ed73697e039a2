"""A signal, a full disk, and a user's own code that raises: the stage, what to do, and nothing half-made."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.answer import Outcome, answer, held, tells

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
import time
from dataclasses import dataclass
import torch
from safetensors.torch import save_file
from posttrain.pipeline.stage import Report, Stage

@dataclass(frozen=True, kw_only=True)
class Rows(Stage):
    address = "rows"
    def run(self, inputs, output, machine):
        (output / "rows").write_text("abc")
        return Report(metrics={"rows": 3})

class Method:
    def loss(self, logprobs):
        return {}["no such figure"]

@dataclass(frozen=True, kw_only=True)
class Trained(Stage):
    address = "trained"
    rows: Stage
    way: str = ""
    def run(self, inputs, output, machine):
        if self.way == "slow":
            (output / "half").write_text("x")
            (machine.workspace / "at work").touch()
            time.sleep(120)
        if self.way == "method":
            Method().loss(1)
        if self.way == "library":
            torch.ones(2) @ torch.ones(3)
        if self.way == "weights":
            save_file({"a": torch.ones(2)}, output / "model.safetensors")
        if self.way == "state":
            torch.save({"a": torch.ones(2)}, output / "state.pt")
        if self.way == "text":
            (output / "rows.jsonl").open("w").write("{}")
        return Report(metrics={"loss": 1.0})

    def gates(self, report):
        return [][0] if self.way == "gate" else []

def own(way: str = "none") -> Stage:
    return Trained(rows=Rows(), way=way)
"""
SIGNALS = [
    (signal.SIGINT, 130, "stopped"),
    (signal.SIGTERM, 143, "terminated"),
    (signal.SIGHUP, 129, "closed"),
]


@pytest.fixture
def own(home: Path) -> Path:
    sys.modules.pop("own", None)
    (home / "own.py").write_text(RECIPE)
    return home


def _began(home: Path) -> bool:
    places = (home / "workspace", *home.glob("tmp/posttrain-doctor-*"))
    return any((place / "at work").exists() for place in places)


@pytest.mark.parametrize("command", ["run", "doctor"])
@pytest.mark.parametrize(("sign", "code", "why"), SIGNALS)
def test_a_signal_ends_a_command_with_nothing_half_made(
    sign: signal.Signals, code: int, why: str, command: str, own: Path
) -> None:
    """30: the stage before stays made, the record says that the run was stopped, and how to go on is told."""
    process = subprocess.Popen(
        [sys.executable, "-m", "posttrain", command, "own.py", "way=slow"],
        cwd=own,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(own / "tmp"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(sign, signal.SIG_DFL),  # a background job ignores SIGINT
    )
    deadline = time.monotonic() + 240
    while not _began(own):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sign)
    out, err = process.communicate(timeout=60)
    held(Outcome(process.returncode, out, err), (code,), own)
    tells(err, f"^posttrain: .*{why}")
    if command == "doctor":
        assert not (own / "workspace").exists()
        return
    tells(err, "the same command goes on where it was")
    assert [path.name.rpartition("-")[0] for path in own.glob("workspace/products/[!.]*")] == ["rows"]
    (record,) = own.glob("workspace/runs/*/run.json")
    assert json.loads(record.read_text())["status"] == "stopped"


def _full(*_: Any, **__: Any) -> None:
    raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")


def _full_state(*_: Any, **__: Any) -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0")


class Full:
    """A path that opens, and a file that takes no text."""

    def __init__(self, path: Path, mode: str = "r", *_: Any, **__: Any) -> None:
        self.path = path

    def write(self, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.path))


DISKS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "weights": ("safetensors.torch.save_file", _full, "workspace"),
    "state": ("torch.save", _full_state, "workspace"),
    "text": ("pathlib.Path.open", Full, r"rows\.jsonl"),
}


@pytest.mark.parametrize("way", DISKS)
def test_a_disk_that_is_full_while_a_stage_writes_is_told_by_path_and_stage(
    way: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """39: however the library reports it, the half-made product goes and the run is recorded as failed."""
    name, full, path = DISKS[way]
    if way == "text":
        real = Path.open
        monkeypatch.setattr(
            name,
            lambda self, *more, **named: (full if self.name == "rows.jsonl" else real)(self, *more, **named),
        )
    else:
        monkeypatch.setattr(name, full)
    said = answer(["run", "own.py", f"way={way}"], own, made=("rows",))
    tells(
        said,
        rf"^posttrain: stage trained: \S*{path}: the disk is full; nothing half-written is left",
        "Free space, or use another --workspace",
    )
    (record,) = own.glob("workspace/runs/*/run.json")
    assert json.loads(record.read_text())["status"] == "failed"


BLAMED = {
    "method": (r"stage trained: Method\.loss raised KeyError: 'no such figure'", r"in loss: return \{\}"),
    "library": (r"stage trained: Trained\.run raised RuntimeError: .*", r"in run: torch\.ones"),
    "gate": (r"posttrain: Trained\.gates raised IndexError: ", r"in gates: return \[\]\[0\]"),
}


@pytest.mark.parametrize("way", BLAMED)
def test_a_users_own_code_that_raises_is_told_by_its_line(way: str, own: Path) -> None:
    """The function, file and line, and what to do; the stages before stay made."""
    what, line = BLAMED[way]
    made = ("rows", "trained") if way == "gate" else ("rows",)
    said = answer(["run", "own.py", f"way={way}"], own, made=made)
    tells(said, what, rf"\n  at \S*own\.py:\d+, {line}", r"\n  Mend that code; finished stages stay")
