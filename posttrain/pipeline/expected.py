"""What a stage is likely to take: its own estimate, set right by the last product of its class."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.fingerprint import recorded_name
from posttrain.pipeline.machine import Estimate
from posttrain.pipeline.progress import size
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Product, Workspace

ALIKE = 8  # times as much work, up to which one product tells how long another takes


def memory(stage: Stage, estimate: Estimate, workspace: Workspace, machine: Machine) -> list[Finding]:
    """What a stage is expected to hold at its peak beside what is free now; nothing where either is not
    known. It stops nobody: an estimate may be too high, and other processes may end.
    """
    last = last_time(stage, workspace) if machine.device == "cpu" else {}  # a product's peak is the host's
    needed = corrected(estimate, last, lambda: 0.0)[0].bytes
    free = machine.free() if machine.free is not None and needed else 0
    if not free:
        return []
    return [
        Finding(
            name="memory_is_there",
            value=float(free),
            threshold=float(needed),
            passed=free >= needed,
            evidence=f"{size(free)} of memory are free, the stage takes about {size(needed)}",
            advice="end other processes, or take a smaller --micro-batch-tokens, lora=8 or a smaller base",
            stops=False,
        )
    ]


def corrected(estimate: Estimate, last: dict[str, Any], speed: Callable[[], float]) -> tuple[Estimate, bool]:
    """An estimate with its seconds, and whether the last product of the same class told how fast that goes.

    Time and memory are then those of last time, in proportion to what was and is estimated; much smaller or
    larger work says nothing, since it is ruled by other costs.
    """
    took, held = float(last.get("seconds", 0)), int(last.get("peak_bytes", 0))
    before = last.get("estimate") or {}
    work = estimate.seconds or estimate.operations
    worked = before.get("seconds") or before.get("operations") or work
    if took and (not work or 1 / ALIKE <= work / worked <= ALIKE):
        foreseen = before.get("bytes") or 0
        memory = int(held * estimate.bytes / foreseen) if estimate.bytes and foreseen else held
        return replace(estimate, seconds=took * work / worked if work else took, bytes=memory), True
    if not estimate.seconds and estimate.operations and (rate := speed()):
        estimate = replace(estimate, seconds=estimate.operations / rate)
    return estimate, False


def last_time(stage: Stage, workspace: Workspace) -> dict[str, Any]:
    """made.json of the newest product of the same class; empty where there is none."""
    kinds = (f"{type(stage).__module__}.{type(stage).__qualname__}", ".".join(recorded_name(type(stage))))
    records: list[dict[str, Any]] = []
    for path in workspace.products.glob("*/made.json"):
        with suppress(UserError):  # of a damaged one nothing is learnt
            records.append(Product.load(path.parent).made)
    alike = [record for record in records if record.get("stage") in kinds]
    return max(alike, key=lambda record: str(record.get("finished", "")), default={})
