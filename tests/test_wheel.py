"""The source archive has what a wheel is built from, and that wheel works from an empty directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GIVEN = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
PACKAGE = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "posttrain").rglob("*")
    if path.is_file() and path.suffix not in (".so", ".pyc")
}
pytestmark = pytest.mark.slow


def build(source: Path, what: str, where: Path) -> Path:
    """As pip calls it: the build back end's own function, in the source's directory.

    Without kernels, whose building from these files tests/kernels/test_build.py sees to.
    """
    code = f"from setuptools import build_meta as b; import sys; print(b.build_{what}(sys.argv[1]))"
    told = subprocess.run(
        [sys.executable, "-c", code, str(where)],
        cwd=source,
        env=os.environ | {"CC": "no-such-compiler"},
        check=True,
        capture_output=True,
        text=True,
    )
    return where / told.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked."""
    where = tmp_path_factory.mktemp("sdist")
    tree = where / "tree"
    shutil.copytree(
        ROOT / "posttrain", tree / "posttrain", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    for name in GIVEN:
        shutil.copy(ROOT / name, tree)
    with tarfile.open(build(tree, "sdist", where)) as archive:
        archive.extractall(where / "out", filter="data")
    (unpacked,) = (where / "out").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def installed(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build(sdist, "wheel", where)) as wheel:
        wheel.extractall(where / "site")
    return where / "site"


def test_the_source_archive_has_every_file_of_the_package(sdist: Path) -> None:
    assert not sorted(name for name in (*PACKAGE, *GIVEN) if not (sdist / name).is_file())


def test_the_wheel_has_every_file_that_is_read_when_it_runs(installed: Path) -> None:
    read = {name for name in PACKAGE if not name.endswith((".c", ".h"))}
    assert not sorted(name for name in read if not (installed / name).is_file())


def test_the_wheel_works_from_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    """A user's model and comparisons to the report, and the model answers."""
    rows = [
        {"prompt": f"Is the {a} {b}?", "chosen": f"Some call the {a} {b}.", "rejected": "No."}
        for a in ("sky", "sea", "snow", "coal", "rose", "sand", "rain", "moon")
        for b in ("red", "blue", "green", "white", "black")
    ]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = installed / "posttrain" / "field_guide" / "base"

    def posttrain(*words: str, typed: str = "") -> str:
        command = [sys.executable, "-P", "-m", "posttrain", *words]
        environment = os.environ | {"PYTHONPATH": str(installed)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, input=typed, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-P", "-c", "import posttrain; print(posttrain.__file__)"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert where.startswith(str(installed))
    assert "instructgpt" in posttrain("list")
    assert "report.html" in posttrain("run", "dpo", f"base={base}", "comparisons=b.jsonl")
    assert posttrain("chat", "--temperature", "0", "--max-tokens", "8", typed="What is ice?\n").strip()
