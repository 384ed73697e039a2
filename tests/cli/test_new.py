from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from posttrain.cli import find_recipe, main
from posttrain.cli.new_files import KINDS
from posttrain.settings import expression, parse


def test_it_writes_a_file_and_its_test_and_says_how_to_use_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "environment", "long_hall", "--directory", str(tmp_path / "my")]) == 0
    assert f"rl.environment={tmp_path}/my/long_hall.py:LongHall" in capsys.readouterr().out
    assert "class LongHall:" in (tmp_path / "my" / "long_hall.py").read_text()
    chosen = f"rl.environment={tmp_path}/my/long_hall.py:LongHall"
    stage = expression(find_recipe("cartpole"), parse([chosen, "rl.environment.length=5"]))
    assert stage.policy.environment.length == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["Upper", "1st", "with-dash", "../up", ""])
def test_a_name_that_python_cannot_import_is_refused(name: str, tmp_path: Path) -> None:
    assert main(["new", "reward", name, "--directory", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_nothing_is_overwritten(there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / there).write_text("mine")
    assert main(["new", "reward", "mine", "--directory", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


@pytest.mark.slow
def test_what_is_written_passes_its_tests_and_runs(tmp_path: Path) -> None:
    for kind in KINDS:
        assert main(["new", kind, f"my_{kind}", "--directory", str(tmp_path)]) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert ran.returncode == 0, ran.stdout.decode()[-2000:]
    commands = (
        f"doctor cartpole rl.environment={tmp_path}/my_environment.py:MyEnvironment",
        f"doctor instructgpt rl.reward={tmp_path}/my_reward.py:my_reward",
        f"doctor instructgpt rl.method={tmp_path}/my_method.py:MyMethod rl.group_size=4",
        f"doctor {tmp_path}/my_recipe.py",
    )
    for command in commands:
        assert main([*command.split(), "--workspace", str(tmp_path / "workspace")]) == 0, command
