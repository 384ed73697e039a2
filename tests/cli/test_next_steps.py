"""What a run ends with: commands that parse, fit what was made, and find it."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from posttrain.cli import main
from posttrain.cli.next_steps import BEFORE, next_steps
from posttrain.cli.parser import build_parser
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.pipeline.store import Workspace


@dataclass(frozen=True, kw_only=True)
class Model(Stage):
    """Only what says of which kind it is."""

    kind: str = "LlamaForCausalLM"
    grown_from: Stage | None = None

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        (output / "config.json").write_text(json.dumps({"architectures": [self.kind]}))
        return Report()


REWARD = "LlamaForSequenceClassification"
RECIPE = """\
from dataclasses import dataclass

from posttrain.pipeline.finding import Waiting
from posttrain.pipeline.stage import Report, Stage


@dataclass(frozen=True, kw_only=True)
class Ask(Stage):
    people: bool = False

    def run(self, inputs, output, machine):
        if self.people:
            raise Waiting("label at http://localhost:1")
        (output / "rows").write_text("a")
        return Report()


def asking(people: bool = False) -> Stage:
    return Ask(people=people)
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTTRAIN_WORKSPACE", raising=False)
    monkeypatch.setattr(sys, "argv", ["posttrain", "run"])
    (tmp_path / "asking.py").write_text(RECIPE)


def commands(*stages: str, root: str = "workspace", device: str = "cpu") -> list[list[str]]:
    """The commands after a run of models, each grown from the one before and named by its kind."""
    model: Stage | None = None
    for number, kind in enumerate(stages):
        model = Model(kind=kind, name=f"stage{number}", grown_from=model)
    assert model is not None
    workspace = Workspace(root)
    run(model, workspace, Machine(quiet=True), say=lambda text: None)
    title, *lines = next_steps(workspace, device).splitlines()
    assert title == BEFORE
    return [shlex.split(line.strip().partition("  ")[0]) for line in lines]


def test_where_there_is_a_model_it_can_be_talked_to() -> None:
    told = commands("LlamaForCausalLM", "LlamaForCausalLM", REWARD)
    assert told == [
        ["posttrain", "report", "--json"],
        ["posttrain", "chat"],
        ["posttrain", "lineage", "stage1"],
    ]
    for command in told:
        build_parser().parse_args(command[1:])
    assert main(["lineage", "stage1"]) == 0


def test_where_nothing_speaks_chat_is_not_named() -> None:
    assert commands(REWARD) == [["posttrain", "report", "--json"]]


def test_another_workspace_and_device_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told = commands("LlamaForCausalLM", root="my work", device="auto")
    assert told[0][3:] == ["--workspace", "my work"]
    assert told[1][2:] == ["--device", "auto", "--workspace", "my work"]
    assert all(build_parser().parse_args(command[1:]).workspace == "my work" for command in told)
    monkeypatch.setenv("POSTTRAIN_WORKSPACE", "my work")
    assert next_steps(Workspace("my work")).count("workspace") == 0


def test_it_is_called_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / ".venv" / "bin" / "posttrain"
    script.parent.mkdir(parents=True)
    script.write_text("")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "run"])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert commands(REWARD)[0] == [".venv/bin/posttrain", "report", "--json"]
    monkeypatch.setenv("PATH", str(script.parent))
    assert commands(REWARD)[0] == ["posttrain", "report", "--json"]
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "posttrain" / "__main__.py")])
    assert commands(REWARD)[0][1:3] == ["-m", "posttrain"]


def test_a_run_ends_with_them_unless_it_is_quiet_or_waits(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        sys.modules.pop("asking", None)
        assert main(["run", "./asking.py", *words]) == 0
        return capsys.readouterr().out

    assert said().endswith(f"{BEFORE}\n  posttrain report --json  every figure of this run\n")
    assert BEFORE in said(), "also where everything was made already"
    assert BEFORE not in said("--quiet")
    assert BEFORE not in said("--dry-run")
    assert BEFORE not in said("people=true")
    assert main(["report", "1", "--json"]) == 0
    json.loads(capsys.readouterr().out)
