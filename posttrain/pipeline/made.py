"""What made.json says of how a product came to be, and a run's record of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from posttrain.pipeline.circumstances import versions
from posttrain.pipeline.code import code
from posttrain.pipeline.fingerprint import Finished, described
from posttrain.pipeline.machine import Estimate
from posttrain.pipeline.plan import Pipeline
from posttrain.pipeline.stage import Stage
from posttrain.pipeline.store import FORMAT, Product


def made_of(pipeline: Pipeline, products: Mapping[str, Product], address: str) -> dict[str, Any]:
    """What made.json says before the work's own metrics: settings, inputs with their hashes, the whole
    ancestry.
    """
    stage = pipeline.stages[address]
    used: list[dict[str, str]] = []
    ancestors: dict[str, Any] = {}
    for path, other in pipeline.inputs(address):
        product = products[other]
        used.append(
            {
                "field": path,
                "address": other,
                "fingerprint": pipeline.fingerprint[other],
                "content": product.content,
                "path": str(product.path),
            }
        )
        ancestors |= product.made.get("ancestors", {})
        ancestors[pipeline.fingerprint[other]] = _parent(pipeline.stages[other], other, product)
    return {
        "format": FORMAT,
        "address": address,
        "stage": f"{type(stage).__module__}.{type(stage).__qualname__}",
        "version": type(stage).version,
        "fingerprint": pipeline.fingerprint[address],
        "settings": settings_of(pipeline, stage),
        "effective": _effective(pipeline, stage),
        "inputs": used,
        "ancestors": ancestors,
        "versions": versions(),
        "code": code(stage),
    }


def settings_of(pipeline: Pipeline, stage: Stage) -> dict[str, Any]:
    """Every field but ``follows``; a stage in it by its address."""
    names = [f.name for f in fields(stage) if f.name != "follows"]
    return {name: described(getattr(stage, name), pipeline.address_of) for name in names}


def step_facts(stage: Stage, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What a run's record says of a stage, whatever becomes of it; ``inputs`` are addresses by field."""
    facts = {"stage": type(stage).__name__, "inputs": dict(inputs)}
    return facts | {"role": stage.role, "does": stage.summary(), "control": bool(stage.follows)}


def _effective(pipeline: Pipeline, stage: Stage) -> dict[str, Any]:
    """The settings that the stage worked with in the place of those that were set."""
    settings = settings_of(pipeline, stage)
    applied = settings_of(pipeline, stage.effective())
    return {name: value for name, value in applied.items() if value != settings[name]}


def estimate_of(hoped: Estimate | None) -> dict[str, float]:
    """What the next estimate of such a stage is corrected by."""
    names = ("tokens", "seconds", "operations", "bytes")
    return {name: getattr(hoped, name) for name in names} if hoped else {}


def _parent(stage: Stage, address: str, product: Product) -> dict[str, Any]:
    """A parent as its children remember it, so that lineage survives a product's being copied elsewhere."""
    keys = ("stage", "version", "settings", "effective", "inputs", "content", "finished", "seconds")
    facts = {key: product.made[key] for key in keys if key in product.made}
    where = {"path": str(product.path)} if isinstance(stage, Finished) else {}
    return {"address": address, "stage": type(stage).__name__, **facts, **where}
