"""What a finished product is, by its files: what a person put in a stage's place is of that stage's kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from posttrain.pipeline.files import check_regular, load_json
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.stage import Stage

LANGUAGE, REWARD = "a language model", "a reward model"
# What a stage wants in a field; a field that takes several kinds is left to the stage.
WANTED = {
    **dict.fromkeys(("policy", "sft", "final", "teacher"), LANGUAGE),
    **dict.fromkeys(("reward.model", "reward_model"), REWARD),
    "demonstrations": "demonstrations",
    "comparisons": "comparisons",
    "prompts": "prompts",
}
_COLUMNS = {
    "demonstrations": ("messages", "completion"),
    "comparisons": ("chosen", "label"),
    "prompts": ("prompt",),
}


def other_kinds(address: str, inputs: Iterable[tuple[str, str, Stage]]) -> Iterator[str]:
    """What is said of finished products in the place of something else; ``inputs`` of the stage at
    ``address`` by field, address and stage.
    """
    for field, other, stage in inputs:
        wanted = WANTED.get(field)
        if wanted is None or not isinstance(stage, Finished):
            continue
        kind = kind_of(stage.directory)
        fits = wanted == kind if wanted in (LANGUAGE, REWARD) else _has(stage.directory, wanted)
        if not fits:
            yield f"{other}={stage.path} is {kind}; expected {wanted} for {address}.{field}"


def kind_of(directory: Path) -> str:
    """What a finished product is, by its files."""
    try:
        config = load_json(directory / "config.json")
        named = str((config.get("architectures") or [""])[0])
    except (OSError, ValueError, AttributeError, TypeError, LookupError, UserError):
        columns = _columns(directory)
        return f"rows of {', '.join(sorted(columns))}" if columns else "neither a model nor rows"
    return REWARD if named.endswith("ForSequenceClassification") else LANGUAGE


def _has(directory: Path, wanted: str) -> bool:
    return not (directory / "config.json").is_file() and bool(_columns(directory) & set(_COLUMNS[wanted]))


def _columns(directory: Path) -> set[str]:
    """The names in the first row of a product of rows."""
    try:
        check_regular(directory / "train.jsonl")
        with (directory / "train.jsonl").open(encoding="utf-8") as lines:
            return {str(name) for line in islice(lines, 1) for name in json.loads(line)}
    except (OSError, ValueError, TypeError, RecursionError, UserError):
        return set()
