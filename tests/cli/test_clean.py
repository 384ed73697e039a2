from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from posttrain.cli import main


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    files = (
        "scratch/rl-0123456789ab/checkpoints/step-00000004/optimizer.safetensors",
        "scratch/.gone-sft-0123456789ab.77/metrics.jsonl",
        "products/.making-rl-0123456789ab/metrics.jsonl",
        "products/rl-999999999999/model.safetensors",
        "aside/rl-888888888888.1/model.safetensors",
    )
    for name in files:
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"x" * 250_000)
    return root


def names(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for folder in ("scratch", "products", "aside")
        for path in (root / folder).iterdir()
    }


def test_it_shows_and_removes_nothing_unasked(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(workspace)
    assert main(["clean", "--workspace", str(workspace)]) == 0
    shown = capsys.readouterr().out
    assert names(workspace) == before
    assert "scratch/rl-0123456789ab" in shown
    assert "unfinished work" in shown
    assert "aside" not in shown
    assert "0.8 MB. `posttrain clean --yes` removes it." in shown


def test_with_yes_it_removes_what_is_left_over_and_no_product(workspace: Path) -> None:
    assert main(["clean", "--yes", "--workspace", str(workspace)]) == 0
    assert names(workspace) == {"products/rl-999999999999", "aside/rl-888888888888.1"}
    assert main(["clean", "--yes", "--aside", "--workspace", str(workspace)]) == 0
    assert names(workspace) == {"products/rl-999999999999"}


def test_what_a_process_is_working_on_stays(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'a+'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('locked', flush=True); sys.stdin.read()"
    )
    lock = workspace / "products" / ".rl-0123456789ab.lock"
    worker = subprocess.Popen(
        [sys.executable, "-c", code, os.fspath(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    worker.stdout.readline()
    for path in (workspace / "products").rglob("*"):  # however long it has written nothing
        os.utime(path, (0, 0))
    try:
        assert main(["clean", "--yes", "--workspace", str(workspace)]) == 0
        assert {"scratch/rl-0123456789ab", "products/.making-rl-0123456789ab"} <= names(workspace)
        assert main(["list", "--workspace", str(workspace)]) == 0
        assert "at work" in capsys.readouterr().out
    finally:
        worker.communicate()


def test_an_empty_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", "--workspace", str(tmp_path / "none")]) == 0
    assert "nothing is left over" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_unfinished_work_is_listed(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "scratch" / "rl-0123456789ab" / "attempts.json").write_text(
        '[{"seconds": 61.0}, {"seconds": 5}]'
    )
    assert main(["list", "--workspace", str(workspace)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("rl-0123456789ab")]
    assert line.split()[1:4] == ["stopped", "2", "66.0"]
