"""What a person types, what comes out, and what they are told when it goes wrong."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from posttrain.cli import main, recipes
from posttrain.cli.chat_loop import Conversation, converse
from posttrain.stages.base import EMBEDDED

RECIPE = '''"""Two small stages."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from pathlib import Path

from posttrain.pipeline.files import hash_text
from posttrain.pipeline.finding import Finding, UserError, Waiting
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage


@dataclass(frozen=True, kw_only=True)
class Rows(Stage):
    """Copies a file."""

    address = "rows"
    source: SourceFile

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        text = Path(self.source.path).read_text()
        (output / "rows").write_text(text)
        return Report(metrics={"characters": len(text)})


@dataclass(frozen=True, kw_only=True)
class Count(Stage):
    """Counts, or fails as asked."""

    address = "count"
    rows: Stage
    rate: float = 1.0
    fate: str = "well"

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        if self.fate == "user":
            raise UserError("row 3: empty")
        if self.fate == "bug":
            hash_text(None)  # raises in a module of posttrain
        if self.fate == "own":
            raise KeyError("missing")
        if self.fate == "full":
            raise OSError(errno.ENOSPC, "No space left on device", str(output / "model"))
        if self.fate == "full_weights":
            raise RuntimeError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            ) from None
        if self.fate == "refused":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        if self.fate == "memory":
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        if self.fate == "wait":
            raise Waiting("label at http://localhost:1")
        if self.fate == "slow":
            (output / "half").write_text("x")
            time.sleep(60)
        (output / "count").write_text("3")
        return Report(metrics={"count": 3.0, "rate": self.rate})

    def gates(self, report: Report) -> list[Finding]:
        return [Finding(name="enough", value=3, threshold=4, passed=self.fate != "gate")]


def toy(file: str = "rows.txt", seed: int = 0) -> Stage:
    """A recipe for tests."""
    return Count(rows=Rows(source=SourceFile(file)))
'''


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(RECIPE)
    (tmp_path / "rows.txt").write_text("abc")
    return tmp_path


def call(*arguments: str) -> int:
    sys.modules.pop("toy", None)
    return main(arguments)


def products(home: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (home / "workspace" / "products").glob("*"))


def test_a_recipe_runs_end_to_end_and_the_second_time_does_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "toy.py") == 0
    said = capsys.readouterr().out
    assert "[2/2] count  made in" in said
    assert "count 3 · rate 1" in said
    assert (home / "workspace" / "runs" / "1-toy" / "report.html").is_file()
    assert call("run", "toy.py") == 0
    assert "Nothing to do: everything is made." in capsys.readouterr().out
    assert call("run", "toy.py", "--quiet", "count.rate=2") == 0
    assert capsys.readouterr().out.startswith("Report: ")
    assert products(home) == ["count", "count", "rows"]
    assert (home / "workspace" / "runs" / "2-toy").is_dir()


def test_options_and_settings_may_be_mixed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "toy.py", "count.rate=2", "--dry-run", "seed=1") == 0
    said = capsys.readouterr().out
    assert "ADDRESS" in said
    assert "2 of 2 to make" in said
    assert not (home / "workspace").exists()


def test_a_dry_run_says_what_remake_would_make(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "toy.py", "--quiet") == 0
    capsys.readouterr()
    assert call("run", "toy.py", "--remake", "count", "--dry-run") == 0
    assert "1 of 2 to make" in capsys.readouterr().out
    assert call("run", "toy.py", "--remake", "nothing", "--dry-run") == 2


@pytest.mark.parametrize("chosen", [None, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_threads_that_wait_spin_briefly_unless_a_user_says_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "as chosen")  # so that it is as it was, afterwards
        if name != chosen:
            monkeypatch.delenv(name)
    assert call("run", "toy.py", "--dry-run") == 0
    wanted = {None: "1000", "GOMP_SPINCOUNT": "as chosen", "OMP_WAIT_POLICY": None}[chosen]
    assert os.environ.get("GOMP_SPINCOUNT") == wanted


def test_list_report_and_lineage_find_what_was_made(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("run", "toy.py", "count.rate=0.25")
    capsys.readouterr()
    assert call("list") == 0
    said = capsys.readouterr().out
    assert "instructgpt" in said
    assert "count.rate=0.25" in said
    assert call("report", "1", "--json") == 0
    metrics = json.loads(capsys.readouterr().out)
    assert any(value == 0.25 for value in metrics.values())
    for name in ("count", str(next((home / "workspace" / "products").glob("count-*")))):
        assert call("lineage", name) == 0
        told = capsys.readouterr().out
        assert "rate = 0.25" in told
        assert "rows <- rows (Rows)" in told
    record = next((home / "workspace" / "runs").glob("*/run.json"))
    record.write_text("no record")
    assert call("lineage", name) == 0  # the directory that is named needs no record of a run
    assert call("lineage", "count") == 2
    assert "run.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run"], 2, "which recipe\\? There is: "),
        (["run", "instructgtp"], 2, "did you mean instructgpt?"),
        (["run", "absent.py"], 2, "absent.py: no such file"),
        (["run", "toy.py", "count.rat=1"], 2, "count has no setting rat; did you mean rate?"),
        (["run", "toy.py", "--drry-run"], 2, "--drry-run: no such option"),
        (["run", "toy.py", "--count.rate", "1"], 2, "a setting has no dashes: count.rate=VALUE"),
        (["run", "toy.py", "--threads", "0"], 2, "expected at least 1"),
        (["run", "toy.py", "--device", "gpu"], 2, "--device gpu: expected auto, cpu, mps, cuda"),
        (["run", "toy.py", "file=absent.jsonl"], 2, "absent.jsonl: no such file"),
        (["run", "toy.py", "count.fate=user"], 2, "stage count: row 3: empty"),
        (["run", "toy.py", "count.fate=full"], 2, "stage count: .*the disk is full"),
        (["run", "toy.py", "count.fate=full_weights"], 2, "stage count: /.*/workspace: the disk is full"),
        (["run", "toy.py", "count.fate=memory"], 2, "stage count: out of memory; try --micro-batch-tokens"),
        (
            ["run", "toy.py", "count.fate=refused"],
            2,
            r"stage count: Count.run raised ConnectionRefusedError: .* refused\n  at .*toy.py:\d+, in run: ",
        ),
        (
            ["run", "toy.py", "count.fate=gate"],
            2,
            "(?s)stage count is made, but did not.*--accept-gate enough",
        ),
        (["run", "toy.py", "count.fate=bug"], 1, "(?s)stage count failed: AttributeError: .*error.txt"),
        (
            ["run", "toy.py", "count.fate=own"],
            2,
            r"stage count: Count.run raised KeyError: 'missing'\n  at .*toy.py:\d+, in run: raise .*\n  Mend",
        ),
        (["run", "toy.py", "--workspace", "rows.txt"], 2, "rows.txt/products: a file is in the way"),
        (["report"], 2, "no run here"),
        (["report", "9"], 2, "9: no such run"),
        (["report", "/nowhere/at/all"], 2, "/nowhere/at/all: no such run"),
        (["run", "toy.py", "--skip-bad"], 2, "--skip-bad: no rows of your own are read here"),
        (["run", "toy.py", "--accept-gate", "enuogh"], 2, "no gate .* did you mean enough\\?"),
        (
            ["doctor", "toy.py", "count.fate=bug"],
            2,
            "(?s)this stands in the way.*stage count failed: AttributeError",
        ),
        (
            ["doctor", "toy.py", "count.fate=own"],
            2,
            r"(?s)this stands in the way.*stage count: Count.run raised KeyError.*toy.py:\d+, in run",
        ),
        (["doctor", "toy.py", "count.fate=user"], 2, "stage count: row 3: empty"),
        (
            ["doctor", "toy.py", "count.fate=gate"],
            2,
            "(?s)stage count did not do its work.*enough = 3, threshold 4",
        ),
        (["doctor", "toy.py", "count.rat=1"], 2, "did you mean rate"),
        (["lineage", "count"], 2, "count: no such product"),
        (["chat"], 2, "no model here yet"),
        (["chat", "."], 2, "not a model, it has no config.json"),
    ],
)
def test_errors_are_sentences_without_a_traceback(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == code
    errors = capsys.readouterr().err
    assert re.search(told, errors), errors
    assert errors.startswith("posttrain: ")
    assert "Traceback" not in errors


def test_the_whole_story_of_a_bug_is_kept(home: Path) -> None:
    call("run", "toy.py", "count.fate=bug")
    assert "Traceback" in (home / "workspace" / "runs" / "1-toy" / "error.txt").read_text()
    assert products(home) == ["rows"]


def test_the_doctor_rehearses_and_leaves_nothing_behind(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("doctor", "toy.py") == 0
    said = capsys.readouterr().out
    for told in (
        "ok    machine_computes: PyTorch",
        "ok    machine_kernels: ",
        "products in bfloat16 (--compute)",
        "ok    machine_memory",
        "[2/2] count  made in",
        "Nothing found",
    ):
        assert told in said
    assert not (home / "workspace").exists()
    assert call("doctor") == 0
    assert "rehearsal" not in capsys.readouterr().out


def test_a_gate_that_was_accepted_is_recorded(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "toy.py", "count.fate=gate", "--accept-gate", "enough") == 0
    record = json.loads((home / "workspace" / "runs" / "1-toy" / "run.json").read_text())
    assert record["accepted_gates"] == ["count.enough"]


def test_a_stage_that_waits_for_people_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "toy.py", "count.fate=wait") == 0
    assert "count waits: label at http://localhost:1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def toy(:\n", r"toy.py:1: "),
        ("\n\nraise KeyError('x')\n", r"toy.py:3: KeyError: 'x'"),
        ("import absent_module\n", r"toy.py:1: ModuleNotFoundError"),
        ("other = 1\n", r"expected a function toy\(\)"),
    ],
)
def test_a_faulty_recipe_file_is_told_by_line(
    home: Path, source: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "toy.py").write_text(source)
    assert call("run", "toy.py") == 2
    assert re.search(told, capsys.readouterr().err)


def test_a_device_that_is_not_there_becomes_the_cpu_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "toy.py", "--device", "cuda:99", "--dry-run") == 0
    assert "no cuda:99 here; going on with the CPU" in capsys.readouterr().err


def test_the_drawing_shows_which_stage_feeds_which(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "toy.py", "--draw") == 0
    assert capsys.readouterr().out == "count (Count)\n└─ rows <- rows (Rows)\n"
    assert not (home / "workspace").exists()


def test_help_teaches_and_a_recipes_help_lists_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    assert "posttrain run instructgpt " in capsys.readouterr().out
    assert call("run", "--help") == 0
    assert "posttrain run instructgpt rl.method.clip_range=0.1" in capsys.readouterr().out
    assert call("run", "toy.py", "--help") == 0
    said = capsys.readouterr().out
    for line in ("A recipe for tests.", "file=rows.txt", "count.rate=1.0", "rows.source=rows.txt"):
        assert line in said
    for command in ("list", "report", "lineage", "chat", "serve", "export", "doctor"):
        with pytest.raises(SystemExit):
            call(command, "--help")
        assert f"posttrain {command}" in capsys.readouterr().out


def test_chat_answers_each_line_and_by_default_asks_the_model_with_the_longest_history(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {}
    for name, ancestors in (("final", ["base", "sft"]), ("control", ["base"])):
        shutil.copytree(EMBEDDED, home / "workspace" / "products" / name)
        made[name] = f"products/{name}"
        record = json.dumps({"ancestors": {key: {} for key in ancestors}})
        (home / "workspace" / "products" / name / "made.json").write_text(record)
    (home / "workspace" / "runs" / "1-toy").mkdir(parents=True)
    (home / "workspace" / "runs" / "1-toy" / "run.json").write_text(json.dumps({"products": made}))
    (home / "workspace" / "products" / "control" / "model.safetensors").unlink()  # would be refused if chosen
    answers = []
    for _ in range(2):
        monkeypatch.setattr(
            "sys.stdin", io.StringIO("What is ice?\n\n/new\nWhat is snow?\n/quit\nnever read\n")
        )
        assert call("chat", "--max-tokens", "4", "--seed", "5") == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert answers[0].count("\n") == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("What is ice?\n"))
    assert call("chat", "final", "--max-tokens", "4", "--seed", "5") == 0
    assert capsys.readouterr().out == answers[0].splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run", "stopped. What is done stays; the same command goes on where it was."),
        ("chat", "stopped"),
    ],
)
def test_only_a_run_is_gone_on_with_after_it_was_stopped(
    home: Path,
    command: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"posttrain.cli.{command}.Workspace", stop)
    assert call(command, "toy.py") == 130
    assert capsys.readouterr().err == f"posttrain: {told}\n"


@pytest.mark.parametrize("interactive", [True, False])
def test_what_is_told_after_a_stop_stands_on_a_line_of_its_own(
    interactive: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(prompt: str) -> str:
        print(prompt, end="")
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", stop)
    with pytest.raises(KeyboardInterrupt):
        converse(Conversation(None, None, 0.0, 1, 0), interactive)  # type: ignore[arg-type]
    assert capsys.readouterr().out == ("you: \n" if interactive else "")


@pytest.mark.parametrize(
    ("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_nothing_half_made(home: Path, sign: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "posttrain", "run", "toy.py", "count.fate=slow"]
    path = str(Path(__file__).resolve().parent.parent)
    process = subprocess.Popen(
        command,
        cwd=home,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores SIGINT, nohup SIGHUP
        preexec_fn=lambda: signal.signal(sign, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(home.glob("workspace/products/.making-count-*/half")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sign)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert products(home) == ["rows"]
    assert json.loads((home / "workspace/runs/1-toy/run.json").read_text())["status"] == "stopped"


def test_the_command_line_starts_without_torch() -> None:
    path = str(Path(__file__).resolve().parent.parent)
    code = "import sys, posttrain.cli as c; c.main(['list']); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_what_recipes_share_is_no_recipe() -> None:
    assert {"instructgpt", "dpo", "thermostat"} <= set(recipes())
    assert not {"own_data", "presets"} & set(recipes())
