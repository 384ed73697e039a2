"""Whether there are rows to learn from and to fill a batch with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posttrain.checks.rows_ahead import failed
from posttrain.pipeline.enough import Sides
from posttrain.pipeline.finding import Finding

LEAST = 2  # rows to learn from: of a single one nothing is learned but itself


def check(stage: Any, sides: Sides | None) -> list[Finding]:
    """``sides`` are the rows that ``stage`` will learn from in batches of ``batch_size`` and those held out;
    nothing is found where they are not known.
    """
    if sides is None:
        return []
    most = getattr(stage, "rows", 0)
    count = min(len(sides[0]), most or len(sides[0]))
    setting = f"{stage.name or stage.address}.batch_size"
    sizes = f"{_counted(sides[0])} to learn from, {_counted(sides[1])} held out"
    if count < LEAST:
        advice = f"give more rows: at least {max(LEAST, stage.batch_size)} of them make a batch"
        return [failed("rows_to_learn_from", count, LEAST, f"{sizes}; needs at least {LEAST}", advice)]
    if stage.batch_size > count:
        evidence = f"{setting} is {stage.batch_size}, and there are {sizes}"
        advice = f"set {setting}={count} or less, or give more rows"
        return [failed("rows_fill_a_batch", count, stage.batch_size, evidence, advice)]
    return []


def _counted(rows: Sequence[Any]) -> str:
    return f"{len(rows)} row" if len(rows) == 1 else f"{len(rows)} rows"
