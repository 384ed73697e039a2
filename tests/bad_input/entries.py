"""Where a user's rows come in: a command line for each, a good row, and the field that is spoilt."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TALK = [{"role": "user", "content": "What is ice?"}, {"role": "assistant", "content": "Frozen water."}]
RECIPE = """
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.stages.labels import ComparisonRows

def own(file: str = "") -> Stage:
    return ComparisonRows(source=SourceFile(file, "datasets"))
"""


@dataclass(frozen=True)
class Entry:
    """``command`` makes a command line of a model and a file."""

    command: Callable[[Path, str], list[str]]
    good: Row
    field: str


def _run(recipe: str, setting: str, *more: str) -> Callable[[Path, str], list[str]]:
    return lambda model, file: ["run", recipe, f"base={model}", f"{setting}={file}", *more]


PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}
TALKS = {"chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "Cold."}]}
ALSO = "comparisons=good.jsonl"
# a command for each reader and column; and each recipe that takes a user's rows, once
ENTRIES = {
    "demonstrations": Entry(_run("instructgpt", "demonstrations", ALSO), {"messages": TALK}, "messages"),
    "demonstrations in two columns": Entry(
        _run("best_of_n", "demonstrations", ALSO), {"prompt": "a", "completion": "b"}, "completion"
    ),
    "comparisons": Entry(_run("dpo", "comparisons"), PAIR, "rejected"),
    "comparisons of conversations": Entry(
        _run("tulu3", "comparisons", "problems=sums.jsonl"), TALKS, "chosen"
    ),
    "ratings": Entry(_run("dpo", "ratings"), {"prompt": "a", "completion": "b", "label": True}, "completion"),
    "prompts": Entry(_run("instructgpt", "prompts", ALSO), {"prompt": "a"}, "prompt"),
    "problems": Entry(_run("deepseek_r1_zero", "problems"), {"prompt": "2 + 2?", "answer": "4"}, "prompt"),
    "text": Entry(_run("instructgpt", "text", "ptx=1", ALSO), {"text": "Once."}, "text"),
}


def _config(model: Path, file: str) -> list[str]:
    Path("settings.yaml").write_text(f"base: {model}\ncomparisons: {file}\n")
    return ["run", "dpo", "--config", "settings.yaml"]


def _own(model: Path, file: str) -> list[str]:
    sys.modules.pop("own", None)  # as a process of its own would not know it
    Path("own.py").write_text(RECIPE)
    return ["run", "own.py", f"file={file}"]


# the other ways to the same readers
WAYS = {
    "a stage's source": lambda model, file: ["run", "dpo", f"base={model}", ALSO, f"labels.source={file}"],
    "--dry-run": lambda model, file: [*ENTRIES["comparisons"].command(model, file), "--dry-run"],
    "--config": _config,
    "doctor": lambda model, file: ["doctor", "dpo", f"base={model}", f"comparisons={file}"],
    "a recipe of one's own": _own,
    "the embedded model": lambda model, file: ["run", "instructgpt", f"comparisons={file}"],
    "a tuned model": lambda model, file: [
        "run",
        "dpo",
        f"base={model}",
        f"sft={model}",
        f"comparisons={file}",
    ],
}


def many(row: Row, count: int = 12) -> list[Row]:
    """Rows of that form that say different things."""
    words = (("ice?", "ice {}?"), ('"a"', '"a {}"'), ("2 + 2?", "2 + {}?"), ("Once.", "Once {}."))
    made = [json.dumps(row)] * count
    for old, new in words:
        made = [text.replace(old, new.format(number)) for number, text in enumerate(made)]
    return [json.loads(text) for text in made]


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
