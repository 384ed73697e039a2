"""What a person sees of pip: a line now and then while it works, all of its output where it fails."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SET_UP = runpy.run_path(str(ROOT / "scripts" / "set_up.py"), run_name="tests")


def interpreter(where: Path, code: int) -> Path:
    """A program in Python's place that complains as pip does, and ends with ``code``."""
    program = where / "python"
    program.write_text(f"#!/bin/sh\necho WARNING: $5 >&2\necho collecting\nexit {code}\n")
    program.chmod(0o755)
    return program


def test_what_pip_says_is_hidden_where_it_works(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    SET_UP["pip"](interpreter(tmp_path, 0), "something")
    assert capfd.readouterr() == ("", "")


def test_a_long_wait_shows_the_seconds_and_the_last_line_of_pip(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho Collecting first\necho Collecting second\nsleep 1.5\n")
    program.chmod(0o755)
    SET_UP["pip"](program, "something", every=1.0)
    shown = capfd.readouterr().out.splitlines()
    assert shown
    assert all(re.fullmatch(r"  \d+ s: Collecting second", line) for line in shown)


def test_all_that_pip_said_is_shown_where_it_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    python = interpreter(tmp_path, 3)
    with pytest.raises(SystemExit) as stopped:
        SET_UP["pip"](python, "something", "a b")
    assert stopped.value.code == 3
    said = capfd.readouterr().err
    assert said.startswith("WARNING: something\ncollecting\n")
    assert said.endswith(f"{python} -m pip install --disable-pip-version-check something 'a b'\n")


def test_a_package_without_a_pin_is_named() -> None:
    assert SET_UP["pinned"]("torch").startswith("torch==")
    with pytest.raises(SystemExit, match="does not pin nosuch"):
        SET_UP["pinned"]("nosuch")
