"""The doctor shows what is learned of one row, marked in colour on a terminal and by brackets elsewhere."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain import cli
from posttrain.checks import doctor, supervised_row
from posttrain.checks.supervised_row import GREEN, PLAIN, first_row, marked
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage, addresses
from posttrain.pipeline.store import Product
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.sft import InstructionTuning
from posttrain.storage.jsonl import write_jsonl
from tests.models.small import llama

SAID: dict[str, Any] = {"role": "assistant", "content": "abc"}
ASKED: dict[str, Any] = {"role": "user", "content": "Say."}


@pytest.fixture
def there(tmp_path: Path, letters: PreTrainedTokenizerFast) -> dict[str, Product]:
    """A model's tokenizer and rows of both kinds."""
    letters.save_pretrained(tmp_path / "base")
    llama().save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").touch()  # nobody reads weights here
    for name, row in (
        ("demonstrations", {"messages": [ASKED, SAID]}),
        ("labels", {"prompt": [ASKED], "chosen": [SAID], "rejected": [{**SAID, "content": "b"}]}),
    ):
        (tmp_path / name).mkdir()
        write_jsonl(tmp_path / name / "train.jsonl", [row])
    return {name: Product(tmp_path / name) for name in ("base", "demonstrations", "labels")}


def stage(kind: str) -> Stage:
    base = ExistingModel(source=SourceFile("somewhere"))
    if kind == "sft":
        return InstructionTuning(base=base, demonstrations=DemonstrationRows(source=SourceFile("a")))
    return Alignment(policy=base, comparisons=ComparisonRows(source=SourceFile("a")))


@pytest.mark.parametrize("kind", ["sft", "dpo"])
@pytest.mark.parametrize("colour", [False, True])
def test_what_is_learned_is_marked_and_nothing_else(
    kind: str, colour: bool, there: dict[str, Product]
) -> None:
    stages = addresses(stage(kind))
    products = {name: there[name] for name in stages if name in there}
    told = first_row(stages, products, colour)
    before, after = GREEN if colour else PLAIN
    assert told.count(before) == told.count(after) == 1 + (not colour)  # the first line says how it is marked
    said = told.splitlines()[1]
    inside = said.partition(before)[2].partition(after)[0]
    assert inside.startswith("abc")
    assert len(inside) > len("abc")  # and the end of the turn
    assert "Say." in said.partition(before)[0]
    assert ("\x1b" in told) is colour


def test_nothing_is_shown_where_nothing_is_learned_from_records(there: dict[str, Product]) -> None:
    assert first_row(addresses(stage("sft")), {"base": there["base"]}, False) == ""
    assert first_row({}, there, False) == ""


class Words:
    """Says of each number what stands there."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def decode(self, ids: list[int]) -> str:
        return "".join(self.texts[one] for one in ids)


def test_a_row_cannot_command_the_terminal_and_long_parts_are_cut() -> None:
    shown = marked(Words("\x1b[2J", "\n", "a"), [0, 1, 2], [False, True, True], PLAIN)
    assert shown == "\\x1b[2J[[\\na]]"
    long = marked(Words("x" * 5000, "y"), [0, 1], [False, True], PLAIN)
    assert len(long) < 500
    assert long.endswith("x[[y]]")


@pytest.mark.parametrize(
    ("terminal", "environment", "colour"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    terminal: bool, environment: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    asked = []
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", Screen())

    def examine(*given: Any) -> list[str]:
        asked.append(given[-1])
        return []

    monkeypatch.setattr(doctor, "examine", examine)
    assert cli.main(["doctor", "--workspace", str(tmp_path)]) == 0
    assert asked == [colour]


def test_a_rehearsal_shows_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the run that the doctor made, after its last line."""
    told: list[str] = []

    finished = SimpleNamespace(products={}, record={"stages": []})
    monkeypatch.setattr(doctor, "run", lambda *given, **named: finished)
    monkeypatch.setattr(doctor, "first_row", lambda stages, products, colour: f"a row, {colour}")
    workspace: Any = None
    assert doctor._rehearse(stage("sft"), workspace, doctor.Machine(), told.append, True) == []
    assert told == ["a row, True"]
    assert supervised_row.READS.keys() == {"demonstrations", "comparisons"}
