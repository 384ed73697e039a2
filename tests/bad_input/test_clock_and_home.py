"""What the machine does around a run, of which none is a failure: a home that cannot be written or is not
known, no network, and a clock that is set forward and back, between stages and inside one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from posttrain.report.record import RunRecord
from tests.bad_input.answer import Outcome, held
from tests.bad_input.entries import lines
from tests.bad_input.test_rewards import RECIPE as LEARNING
from tests.pipeline.test_hostile_records import RECIPE

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = """
import socket
def refuse(*_):
    raise OSError(101, "Network is unreachable")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""
JUMPS = """
import itertools, time
from datetime import datetime
from posttrain.pipeline import circumstances
real, turn = time.time, itertools.count()
def away():  # a year ahead, or a year back, at every other look
    return (1, -1, 0)[next(turn) % 3] * 365 * 86400.0
time.time = lambda: real() + away()
class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(real() + away(), tz)
circumstances.datetime = Clock
"""
COUNTING = RECIPE.replace("def counting(", "def own(")
CALL = "\nimport sys\nfrom posttrain.cli import main\nsys.exit(main(sys.argv[1:]))"
NO_WRITING_EVERYWHERE = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root writes anywhere


def _bound() -> None:
    """Directories that may not be written are so for root too."""
    import ctypes

    for capability in NO_WRITING_EVERYWHERE if os.geteuid() == 0 else ():
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def _closed(environment: dict[str, str], place: Path) -> None:
    (place / "home").chmod(0o555)
    environment["HOME"] = str(place / "home")


def _on_a_file(environment: dict[str, str], place: Path) -> None:
    environment["HOME"] = "/dev/null"


def _unset(environment: dict[str, str], place: Path) -> None:
    environment.pop("HOME", None)


CIRCUMSTANCES: dict[str, tuple[Callable[[dict[str, str], Path], None], str, str]] = {
    "a closed home, no network and a clock that is set": (_closed, OFFLINE + JUMPS, LEARNING),
    "a home that is no directory, and no network": (_on_a_file, OFFLINE, COUNTING),
    "no home, and a clock that is set": (_unset, JUMPS, COUNTING),
}


@pytest.mark.parametrize("what", CIRCUMSTANCES)
def test_a_run_in_odd_circumstances_is_whole(what: str, home: Path, llama: Path) -> None:
    """31: it is made, told and found again, no duration is negative, and nothing is left in the home."""
    change, before, recipe = CIRCUMSTANCES[what]
    (home / "prompts.jsonl").write_bytes(lines([{"prompt": f"Say {number} "} for number in range(12)]))
    (home / "own.py").write_text(recipe)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in [n for n in environment if n.startswith(("HF_", "XDG_", "TRANSFORMERS_", "TORCH"))]:
        del environment[name]
    change(environment, home)
    settings = ["run", "own.py", *([f"base={llama}"] if recipe is LEARNING else [])]

    def call(*arguments: str) -> str:
        command = [sys.executable, "-c", before + CALL, *arguments]
        ran = subprocess.run(
            command, env=environment, cwd=home, capture_output=True, text=True, preexec_fn=_bound
        )
        held(Outcome(ran.returncode, ran.stdout, ran.stderr), (0,), home)
        return ran.stdout

    call(*settings)
    (directory,) = (home / "workspace/runs").iterdir()
    record = json.loads((directory / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["seconds"] >= 0
    for made in (home / "workspace/products").glob("*/made.json"):
        known = json.loads(made.read_text())
        assert 0 <= known["seconds"] < 3600
        assert 0 <= known["processor_seconds"] < 3600
    seconds = RunRecord.load(directory, home / "workspace").seconds
    assert seconds is not None
    assert 0 <= seconds < 3600
    assert "Nothing to do" in call(*settings)
    assert list((home / "home").iterdir()) == []


def test_an_earlier_run_whose_clock_was_set_back_took_no_negative_time(tmp_path: Path) -> None:
    record = {"recipe": "dpo", "products": {}, "started": "2026-03-01T10:00:00+00:00"}
    for finished, seconds in (("2026-03-01T09:00:00+00:00", None), ("2026-03-01T10:00:05+00:00", 5.0)):
        (tmp_path / "run.json").write_text(json.dumps({**record, "finished": finished}))
        assert RunRecord.load(tmp_path, tmp_path).seconds == seconds
