"""What can be told once models and rows are there, before the first stage trains: whether what a person put
in a stage's place is of its kind, and what the rows say of the stages that will read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.plan import Pipeline
from posttrain.pipeline.progress import described
from posttrain.pipeline.stage import Inputs, Machine, Product, nested

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


def check_rows_ahead(pipeline: Pipeline, products: Mapping[str, Product], machine: Machine) -> None:
    """``products`` are those of the stages that need no other. Raises UserError with everything that was
    found, of the stages that are not made yet.
    """
    lookup = {id(pipeline.stages[address]): product for address, product in products.items()}
    wrong = []
    for address, stage in pipeline.stages.items():
        made = pipeline.place[address].is_dir() and address not in pipeline.remake
        if made or not nested(stage):
            continue
        wrong += [f"stage {address}: {told}" for told in _other_kinds(pipeline, address, products)]
        inputs = Inputs.gather(stage, lambda child: lookup.get(id(child)))
        try:
            found = stage.ahead(_model(pipeline, address, products), inputs, machine)
        except UserError as error:
            wrong.append(f"stage {address}: {error}")
            continue
        if failed := [one for one in found if not one.passed]:
            told = "\n".join(["stopped before anything is trained:", *map(described, failed)])
            wrong.append(f"stage {address}: {told}")
    if wrong:
        raise UserError("\n".join(wrong))


def _model(pipeline: Pipeline, address: str, products: Mapping[str, Product]) -> Path | None:
    """The model that a stage's first input grew from, of those that are there."""
    for _, other in pipeline.inputs(address):
        if other not in products:
            if (found := _model(pipeline, other, products)) is not None:
                return found
        elif (products[other].path / "config.json").is_file():
            return products[other].path
    return None


def _other_kinds(pipeline: Pipeline, address: str, products: Mapping[str, Product]) -> list[str]:
    """What is said of finished products in the place of something else."""
    said = []
    for field, other in pipeline.inputs(address):
        wanted, stage = WANTED.get(field), pipeline.stages[other]
        if wanted is None or not isinstance(stage, Finished) or other not in products:
            continue
        kind = kind_of(products[other].path)
        fits = wanted == kind if wanted in (LANGUAGE, REWARD) else _has(products[other].path, wanted)
        if not fits:
            said.append(f"{other}={stage.path} is {kind}; expected {wanted} for {address}.{field}")
    return said


def kind_of(directory: Path) -> str:
    """What a finished product is, by its files."""
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
        named = str((config.get("architectures") or [""])[0])
    except (OSError, ValueError, AttributeError, TypeError):
        columns = _columns(directory)
        return f"rows of {', '.join(sorted(columns))}" if columns else "neither a model nor rows"
    return REWARD if named.endswith("ForSequenceClassification") else LANGUAGE


def _has(directory: Path, wanted: str) -> bool:
    return not (directory / "config.json").is_file() and bool(_columns(directory) & set(_COLUMNS[wanted]))


def _columns(directory: Path) -> set[str]:
    """The names in the first row of a product of rows."""
    try:
        with (directory / "train.jsonl").open(encoding="utf-8") as lines:
            return {str(name) for line in islice(lines, 1) for name in json.loads(line)}
    except (OSError, ValueError, TypeError):
        return set()
