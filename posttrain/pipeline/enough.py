"""Whether a user's rows are enough for the stages that learn from them, counted before anything is made.

A stage whose product is rows may have ``foreseen(rows, machine)``: its training and held-out rows as it would
write them, where they follow from a user's files alone, else None; ``rows(stage)`` gives those of another. A
stage that learns may have ``enough(rows)``: what it finds of its inputs' rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.progress import described
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage, nested

Sides = tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]  # learned from, held out
ForeseenRows = Callable[[Stage], Sides | None]


def short_of_rows(stages: Mapping[str, Stage], made: Collection[str], machine: Machine) -> list[str]:
    """What is said of stages whose rows are too few, but of those at the addresses that are ``made``."""
    address_of = {id(stage): address for address, stage in stages.items()}
    sides: dict[int, Sides | None] = {}
    wrong: list[str] = []

    def rows(stage: Stage) -> Sides | None:
        if id(stage) not in sides:
            sides[id(stage)] = None
            ask = getattr(stage, "foreseen", None)
            try:
                sides[id(stage)] = ask(rows, machine) if ask is not None else None
            except UserError as error:
                wrong.append(f"stage {address_of[id(stage)]}: {_file(stage)}{error}")
        return sides[id(stage)]

    for address, stage in stages.items():
        if address in made:
            continue
        rows(stage)
        ask = getattr(stage, "enough", None)
        short: list[Finding] = [one for one in (ask(rows) if ask is not None else ()) if not one.passed]
        if short:
            lines = "\n".join(["too few rows, counted before anything was made:", *map(described, short)])
            wrong.append(f"stage {address}: {_file(stage)}{lines}")
    return wrong


def _file(stage: Stage) -> str:
    """``rows.jsonl: ``, of the first of a user's files of rows that the stage is made from."""
    values = [getattr(stage, item.name) for item in fields(stage)]
    if source := next((value for value in values if isinstance(value, SourceFile)), None):
        return f"{source.path}: " if hasattr(stage, "foreseen") else ""
    return next((file for _, child in nested(stage) if (file := _file(child))), "")
