"""A product, a record or a path that somebody changed or mistook, in every command that reads one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.answer import accepted, answer, tells, tree
from tests.pipeline.test_hostile_records import RECIPE, call

Change = Callable[[Path], Any]


@pytest.fixture
def made(home: Path) -> Path:
    """The workspace of a finished run of two stages."""
    (home / "counting.py").write_text(RECIPE)
    assert call("run", "counting.py", "--quiet") == 0
    return home / "workspace"


def told(home: Path, *arguments: str) -> str:
    sys.modules.pop("counting", None)
    return answer(arguments, home)


def _product(workspace: Path, name: str = "count") -> Path:
    return next(workspace.glob(f"products/{name}-*"))


# number of the bad input, and what: the harm to the product, and what is said of it
TOUCHED: dict[str, tuple[Change, str]] = {
    "25 a file changed": (lambda p: (p / "count").write_text("4"), "count has sha256 .*, was written with"),
    "25 a file gone": (lambda p: (p / "count").unlink(), "count is missing"),
    "25 a pipe in its place": (
        lambda p: ((p / "count").unlink(), os.mkfifo(p / "count")),
        "count is missing",
    ),
    "25 made.json cut short": (
        lambda p: (p / "made.json").write_text("{"),
        "made.json: damaged or changed since it was written: not JSON",
    ),
    "25 made.json edited": (
        lambda p: (p / "made.json").write_text((p / "made.json").read_text().replace("3.0", "5.0")),
        "made.json: damaged or changed since it was written",
    ),
    "25 no made.json": (lambda p: (p / "made.json").unlink(), "its made.json is missing"),
}


@pytest.mark.parametrize("harm", TOUCHED)
def test_a_product_that_was_touched_is_told_and_kept(harm: str, made: Path) -> None:
    change, said = TOUCHED[harm]
    change(_product(made))
    answered = told(made.parent, "run", "counting.py")
    tells(
        answered,
        "stage count: ",
        str(_product(made)),
        said,
        "Put back what changed, or run with --remake count",
    )


@pytest.mark.parametrize("harm", TOUCHED)
def test_a_product_given_in_a_stages_place_is_told_too(harm: str, made: Path) -> None:
    if harm == "25 no made.json":
        pytest.skip("a directory that posttrain did not write is taken as it is")
    change, said = TOUCHED[harm]
    given = made.parent / "given"
    shutil.copytree(_product(made, "rows"), given)
    (given / "rows").rename(given / "count")
    record = json.loads((given / "made.json").read_text())
    record["files"] = {"count": record["files"]["rows"]}
    from posttrain.pipeline.store import sealed

    record.pop("record_sha256", None)
    (given / "made.json").write_text(json.dumps(sealed(record | {"x": 3.0})))
    change(given)
    tells(told(made.parent, "run", "counting.py", "rows=given"), "given", said)


PATHS = {
    "38 an empty path": ("", "an empty path|no directory is named|no such product"),
    "38 nobody's home": ("~nosuchuser-at-all/x", "no home directory is known for ~nosuchuser-at-all"),
    "38 nothing there": (
        "nowhere",
        "no such product|must be the directory of a finished product, and nowhere is none|no such run",
    ),
    "23 a file": ("counting.py", "no such product|and counting.py is none|no such run"),
    "38 a name of 5,000 letters": ("x" * 5000, "no such product|is none|no such run|not a path|too long"),
    "38 a NUL": ("a\0b", "no such product|is none|no such run|not a path|null"),
}
READS = {
    "lineage": lambda path: ["lineage", path],
    "chat": lambda path: ["chat", path],
    "export": lambda path: ["export", path, "--to", "hub"],
    "serve": lambda path: ["serve", path],
    "report": lambda path: ["report", path],
    "a stage's place": lambda path: ["run", "counting.py", f"rows={path}"],
}


@pytest.mark.parametrize("command", READS)
def test_a_path_that_names_no_product_is_told(command: str, made: Path) -> None:
    for case, (path, said) in PATHS.items():
        if path or command in ("lineage", "a stage's place"):  # elsewhere an empty name is none: the latest
            tells(told(made.parent, *READS[command](path)), said, case=case)


WORKSPACES = {
    "38 an empty path": ("", "an empty path; expected a file or a directory"),
    "38 nobody's home": ("~nosuchuser-at-all/x", "no home directory is known for ~nosuchuser-at-all"),
    "23 a file": ("counting.py", "counting.py/(products|runs): a file is in the way|counting.py: "),
}


@pytest.mark.parametrize("place", WORKSPACES)
@pytest.mark.parametrize(
    "command",
    [["run", "counting.py"], ["doctor", "counting.py"], ["list"], ["report"], ["lineage", "rows"], ["chat"]],
)
def test_a_workspace_that_can_be_none_is_told(command: list[str], place: str, made: Path) -> None:
    path, said = WORKSPACES[place]
    if place == "23 a file" and command[0] in ("list", "doctor"):
        pytest.skip("nothing is written there: a list of nothing, and a rehearsal elsewhere")
    expected = (
        said if place != "23 a file" or command[0] == "run" else "no run here|no such product|no model here"
    )
    tells(told(made.parent, *command, "--workspace", path), expected)


def test_a_workspace_that_may_not_be_written_is_told(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """23 and 39: before anything is made, and what to change."""

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    tells(
        told(made.parent, "run", "counting.py", "--workspace", "other"),
        "other/products: cannot be created .Permission denied.; choose another --workspace",
    )


OPTIONS = [
    (["run"], "which recipe.? There is: "),
    (["run", "counting.py", "--threads", "0"], "--threads 0: expected at least 1"),
    (["run", "counting.py", "--micro-batch-tokens", "0"], "--micro-batch-tokens 0: expected at least 1"),
    (["run", "counting.py", "--device", "gpu"], "--device gpu: expected auto, cpu, mps, cuda"),
    (
        ["run", "counting.py", "--remake", "cuont"],
        "--remake cuont: no stage is called that; did you mean count",
    ),
    (["run", "counting.py", "--accept-gate", "x"], "no gate"),
    (["run", "counting.py", "--skip-bad"], "--skip-bad: no rows of your own are read here"),
    (
        ["run", "counting.py", "--trunk", "int8"],
        "--trunk int8: no stage here trains adapters; give lora=16",
    ),
    (["run", "counting.py", "count.x=1"], "count has no setting x"),
    (["run", "counting.py", "--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    (["run", "countng.py"], "countng.py: no such file"),
    (["list", "x=1"], "x=1: no such option"),
    (["report", "7"], "7: no such run in .*; there is: 1-counting"),
    (["chat", "--max-tokens", "0"], "--max-tokens 0: expected at least 1"),
    (["serve", "count", "--max-tokens", "0"], "--max-tokens 0: expected at least 1"),
    (["export", "count", "--to", "gguf", "--push", "a/b"], "--push uploads what --to hub writes"),
]


@pytest.mark.parametrize(("arguments", "said"), OPTIONS)
def test_an_option_that_cannot_be_is_told(arguments: list[str], said: str, made: Path) -> None:
    tells(told(made.parent, *arguments), said)


@pytest.mark.parametrize("value", ["nan", "-1", "inf"])
def test_a_temperature_that_is_none_is_told(value: str, made: Path) -> None:
    """6: before a model is loaded."""
    said = told(made.parent, "chat", "--temperature", value)
    tells(said, rf"--temperature {value}(\.0)?: expected 0 or more")


EMPTY = {
    "20 not UTF-8": b"\xff\xfe{",
    "20 NUL": b"\0",
    "20 half a surrogate": b'{"address": "\\ud800"}',
    "1 empty": b"",
    "32 nested": b"[" * 100_000,
}


@pytest.mark.parametrize("what", EMPTY)
def test_a_record_that_is_no_text_is_told_by_its_file(what: str, made: Path) -> None:
    """1, 20 and 32: in a run, and where somebody asks for the product's lineage."""
    (_product(made) / "made.json").write_bytes(EMPTY[what])
    said = told(made.parent, "run", "counting.py")
    tells(
        said,
        "stage count: ",
        r"made\.json: damaged or changed",
        "Put back what changed, or run with --remake count",
    )
    tells(told(made.parent, "lineage", str(_product(made))), r"made\.json")


def test_a_note_in_a_product_is_kept_and_nothing_is_made_again(made: Path) -> None:
    """37, item 1: neither the note nor the product goes."""
    note = _product(made) / "NOTES.md"
    note.write_text("x\n")
    before = tree(made / "products")
    sys.modules.pop("counting", None)
    tells(accepted(["run", "counting.py"], made.parent), "Nothing to do|cached")
    assert tree(made / "products") == before


@pytest.mark.parametrize("name", ["../../../x", "a/b", ".hidden"])
def test_a_stage_whose_name_leads_outside_is_refused(name: str, made: Path) -> None:
    """38, item 9: a name becomes a directory's."""
    (made.parent / "counting.py").write_text(RECIPE.replace('address = "count"', f'address = "{name}"'))
    tells(told(made.parent, "run", "counting.py"), "stage|name|address", "expected|letters")
