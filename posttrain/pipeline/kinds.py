"""What a finished product is, by its files: what a person put in a stage's place is of that stage's kind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

from posttrain.pipeline.files import check_regular, load_json
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished, field_types
from posttrain.pipeline.stage import Stage

LANGUAGE, REWARD = "a language model", "a reward model"
# The type of a field whose stage makes a product of that kind; one that takes several kinds is a plain Stage.
ModelStage = Annotated[Stage, LANGUAGE]
RewardModelStage = Annotated[Stage, REWARD]
DemonstrationStage = Annotated[Stage, "demonstrations"]
ComparisonStage = Annotated[Stage, "comparisons"]
PromptStage = Annotated[Stage, "prompts"]
_COLUMNS = {
    "demonstrations": ("messages", "completion"),
    "comparisons": ("chosen", "label"),
    "prompts": ("prompt",),
}


def other_kinds(address: str, stage: Stage, inputs: Iterable[tuple[str, str, Stage]]) -> Iterator[str]:
    """What is said of finished products in the place of something else; ``inputs`` of the ``stage`` at
    ``address`` by field, address and stage.
    """
    for field, other, product in inputs:
        if not isinstance(product, Finished) or not (wanted := _declared_kind(stage, field)):
            continue
        kind = kind_of(product.directory)
        fits = wanted == kind if wanted in (LANGUAGE, REWARD) else _has(product.directory, wanted)
        if not fits:
            yield f"{other}={product.path} is {kind}; expected {wanted} for {address}.{field}"


def _declared_kind(stage: Stage, path: str) -> str:
    """The kind that the field at the end of a path such as ``reward.model`` is declared to take; or empty."""
    value: Any = stage
    *outer, name = re.findall(r"\w+", path)
    for step in outer:
        if isinstance(value, tuple | list):
            value = value[int(step) - 1]
        else:
            value = value[step] if isinstance(value, dict) else getattr(value, step)
    declared = field_types(type(value)).get(name)
    members = (declared, *get_args(declared))  # of an optional input the first one
    return next((str(kind) for one in members for kind in getattr(one, "__metadata__", ())), "")


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
