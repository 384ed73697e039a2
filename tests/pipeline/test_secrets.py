"""A secret is in no file of a workspace, wherever it was: environment, settings, an address, an exception."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from posttrain import cli
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.secrets import HIDDEN, Redaction, secret_name
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.pipeline.store import Workspace

CANARY = "canary-7Qx2-Lm09-never"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("api_key", True),
        ("rl.reward.api_key", True),
        ("OPENAI_API_KEY", True),
        ("hf_token", True),
        ("token", True),
        ("HF_TOKEN", True),
        ("judge.headers[Authorization]", True),
        ("db_password", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("client-secret", True),
        ("eos_token", False),
        ("rl.stop_token", False),
        ("pad_token", False),
        ("max_tokens", False),
        ("micro_batch_tokens", False),
        ("seed", False),
        ("key", False),
        ("author", False),
        ("secretary", False),
    ],
)
def test_settings_are_secret_by_their_name(name: str, secret: bool) -> None:
    assert secret_name(name) == secret


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hf_abcdefghijklmnopQRSTUV is mine", "*** is mine"),
        ("key sk-proj-abcdefghijklmnop_1234", "key ***"),
        ("ghp_abcdefghijklmnopqrstuvwx", "***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
        ("https://me:pass-word@host/a?b=1", "https://***@host/a?b=1"),
        ("http://h/a?x=1&access_token=abcdef&y=2", "http://h/a?x=1&access_token=***&y=2"),
        ("Authorization: Bearer abcdefgh12345", "Authorization: Bearer ***"),
        ("Authorization: Basic YWJjZGVmZw==", "Authorization: Basic ***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "***"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc-_def", "***"),
        ("Basic arithmetic and bearer bonds", "Basic arithmetic and bearer bonds"),
        ("sk-learn, hf_hub, a@b.org, http://host:80/x@y", "sk-learn, hf_hub, a@b.org, http://host:80/x@y"),
        ("0123456789abcdef" * 4, "0123456789abcdef" * 4),
        ("/data/desk-reviews-2024-cleaned.jsonl", "/data/desk-reviews-2024-cleaned.jsonl"),
        (
            "products/multitask-finetune-mixture-0123",
            "products/multitask-finetune-mixture-0123",
        ),
    ],
)
def test_texts_are_secret_by_their_shape(text: str, shown: str) -> None:
    hidden = Redaction().text(text)
    assert hidden == shown
    assert Redaction().text(hidden) == hidden


def test_the_value_of_a_secret_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", CANARY)
    monkeypatch.setenv("PASSWORD", "plain")  # a word that stands everywhere
    said = {"notes": [f"asked with {CANARY}", "in plain words"], "number": 3, "none": None}
    assert Redaction().value(said) == {
        "notes": ["asked with ***", "in plain words"],
        "number": 3,
        "none": None,
    }
    monkeypatch.delenv("JUDGE_API_KEY")
    assert Redaction(["a.api_key=" + CANARY]).text(f"x{CANARY}x") == "x***x"
    assert Redaction({"judge": {"password": CANARY}}).text(CANARY) == HIDDEN
    assert Redaction().value(["a.api_key=short", "rate=1"]) == ["a.api_key=***", "rate=1"]


def main(arguments: list[str]) -> int:
    sys.modules.pop("asking", None)  # as a process of its own would not know it
    return cli.main(arguments)


RECIPE = """
from dataclasses import dataclass, field
from pathlib import Path

from posttrain.pipeline.finding import Finding
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage


@dataclass(frozen=True)
class Judge:
    address: str = "http://localhost"
    api_key: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked(Stage):
    address = "asked"
    judge: Judge = Judge()

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        (output / "answers.jsonl").write_text("{}\\n")
        return Report(
            metrics={"asked": self.judge.address},
            notes=[f"asked {self.judge.address} with {self.judge.api_key}"],
            findings=[Finding(name="reached", value=1, evidence=f"key {self.judge.api_key}")],
        )


@dataclass(frozen=True, kw_only=True)
class Told(Stage):
    address = "told"
    asked: Stage
    fails: bool = False

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        import os

        judge = self.asked.judge
        if self.fails:
            raise ConnectionRefusedError(f"{judge.address} {judge.api_key} {os.environ['MY_TOKEN']}")
        return Report(notes=[os.environ["MY_TOKEN"]])


def asking() -> Stage:
    return Told(asked=Asked())
"""


def test_a_canary_is_in_no_file_of_a_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the environment, in settings, in an address and in an exception."""
    canaries = {name: f"{CANARY}-{name}" for name in ("key", "address", "environment")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_TOKEN", canaries["environment"])
    (tmp_path / "asking.py").write_text(RECIPE)
    settings = [
        f"asked.judge.api_key={canaries['key']}",
        f"asked.judge.address=https://user:{canaries['address']}@judge.org/v1",
    ]
    assert main(["run", "asking.py", *settings]) == 0
    assert main(["run", "asking.py", *settings, "told.fails=yes"]) == 2
    assert main(["report", "1"]) == main(["report", "2"]) == 0
    workspace = tmp_path / "workspace"
    texts = {path: path.read_text() for path in workspace.rglob("*") if path.is_file()}
    names = {path.name for path in texts}
    assert {"made.json", "run.json", "report.html", "error.txt"} <= names
    for path, text in texts.items():
        assert CANARY not in text, path
    (story,) = (text for path, text in texts.items() if path.name == "error.txt")
    assert "ConnectionRefusedError: https://***@judge.org/v1 *** ***" in story
    said = capsys.readouterr()
    assert CANARY not in said.err
    # and it is the same product the next time, as the fingerprint holds the setting itself
    assert main(["run", "asking.py", *settings]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert main(["run", "asking.py", settings[1], "asked.judge.api_key=another", "--dry-run"]) == 0
    assert "2 of 2 to make" in capsys.readouterr().out


@dataclass(frozen=True, kw_only=True)
class Named(Stage):
    address = "named"

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        return Report()


@pytest.mark.parametrize(
    "name", ["../../../x", "/tmp/x", "a/b", "..", ".hidden", "a\0b", "x" * 65, "a b", "-x", "a\n"]
)
def test_a_stages_name_cannot_lead_outside(tmp_path: Path, name: str) -> None:
    from posttrain.pipeline.runner import run

    with pytest.raises(UserError, match="expected letters, digits"):
        run(replace(Named(), name=name), Workspace(tmp_path / "deep" / "er"), Machine())
    assert list(tmp_path.iterdir()) == []


def test_usual_names_are_names(tmp_path: Path) -> None:
    for name in ("rl", "sft_4x", "best-of-n", "rm2"):
        assert Workspace(tmp_path).place(name, "f" * 64).name == f"{name}-ffffffffffff"
