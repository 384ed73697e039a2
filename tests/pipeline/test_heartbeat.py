"""A stage at work says so while no bar is drawn."""

from __future__ import annotations

import io
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from posttrain.cost.work import StageWork
from posttrain.pipeline import heartbeat as beats
from posttrain.pipeline.heartbeat import heartbeat
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.pipeline.store import Workspace
from posttrain.training.progress_bar import progress

SOON = 30.0  # seconds after which a test gives up


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Slow(Stage):
    """Works until somebody has said how long it takes, and then how far it is."""

    address = "slow"

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        assert machine.note is not None
        assert HOPED.wait(SOON)
        machine.note(lambda: "step 3 of 4")
        assert HEARD.wait(SOON)
        return Report()

    def work(self, inputs: Inputs) -> StageWork:
        return StageWork(seconds=120.0)


HOPED, HEARD = threading.Event(), threading.Event()


def test_a_run_says_how_far_its_stage_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(beats, "EVERY", 0.01)
    HOPED.clear()
    HEARD.clear()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "of about" in text:
            HOPED.set()
        if "step 3" in text:
            HEARD.set()

    run(Slow(), Workspace(tmp_path), Machine(), say=say)
    line = next(text for text in said if "step 3" in text)
    assert line.startswith("[1/1] slow")
    assert re.search(r" \d+ s, step 3 of 4$", line), "what was noted takes the place of the estimate"
    assert any(text.endswith(" s of about 2 min 0 s") for text in said)
    assert not [thread for thread in threading.enumerate() if "beat" in thread.name]


def test_it_is_silent_where_it_was_asked_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "EVERY", 0.001)
    lines: list[str] = []
    with heartbeat(lines.append, quiet=True) as note:
        note(lambda: "asked")
        assert not threading.Event().wait(0.1)
    assert lines == []


def test_on_a_terminal_it_is_silent_while_a_bar_is_drawn_and_speaks_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(beats, "EVERY", 0.001)
    lines: list[str] = []
    spoke = threading.Event()

    def say(text: str) -> None:
        lines.append(text)
        spoke.set()

    bar = progress(iter([1, 2]), total=2)
    next(bar)  # draws it
    with heartbeat(say, quiet=False):
        assert not spoke.wait(0.1)
        assert list(bar) == [2]  # and removes it
        assert spoke.wait(SOON)


def test_an_estimate_that_is_over_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(beats, "EVERY", 0.001)
    said: list[str] = []
    told = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        told.set()

    with heartbeat(say, quiet=False, about=1e-9):
        assert told.wait(SOON)
    assert not [text for text in said if "of about" in text]
