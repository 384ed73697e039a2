"""A worker counts processor time, and ends with who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from posttrain.sandbox import worker
from posttrain.sandbox.tiers import SandboxError
from posttrain.sandbox.worker import LATE, Worker

ROOT = Path(__file__).resolve().parent.parent.parent


def test_late_is_counted_in_processor_time() -> None:
    with Worker("time:sleep", seconds=0.1) as sleeps:
        assert sleeps(0.4).failed == ""
    with Worker("math:factorial", seconds=0.1) as busy:
        began = time.monotonic()
        assert busy(3_000_000).failed == f"{LATE} within 0.1 s of processor time"
        assert busy(5).value == 120
        assert time.monotonic() - began < 30


def test_a_call_that_gets_no_processor_time_is_a_failure_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Worker("time:sleep", seconds=0.1) as sleeps:
        assert sleeps(0.0).failed == ""
        monkeypatch.setattr(worker, "stalls_after", lambda seconds: 0.3)
        with pytest.raises(SandboxError, match="the machine is too busy"):
            sleeps(60)


def test_the_set_up_is_the_first_argument_and_no_part_of_the_clock() -> None:
    with Worker("operator:sub", seconds=0.5, setup="neg") as subtracts:
        assert subtracts(3).value == -6
        assert subtracts("a").failed.startswith("TypeError")


PARENT = """
import sys
from posttrain.sandbox.worker import Worker
with Worker("time:sleep", seconds=30) as sleeps:
    print(sleeps.process.pid, flush=True)
    sleeps(60)
"""


def test_a_worker_and_its_call_end_with_the_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    call = _soon(lambda: _children(server))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for pid in (server, *call):
        _soon(lambda pid=pid: not _alive(pid))  # type: ignore[misc]


def test_a_call_ends_with_its_server() -> None:
    sleeps = Worker("time:sleep", seconds=30)
    worker.send(sleeps._asks, {"arguments": [60], "seconds": 30, "memory": 2 << 30, "stalls": 60})
    (call,) = _soon(lambda: _children(sleeps.process.pid))
    os.kill(sleeps.process.pid, signal.SIGKILL)
    _soon(lambda: not _alive(call))
    sleeps.close()


def _soon(found):  # type: ignore[no-untyped-def]
    """What it finds, within ten seconds."""
    for _ in range(500):
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError("not within ten seconds")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
