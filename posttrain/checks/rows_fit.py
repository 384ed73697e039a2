"""Whether a model reads the longest rows that a stage may have as it would read them alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from posttrain.pipeline.finding import Finding
from posttrain.pipeline.stage import Stage


def check(stage: Stage, model: Path) -> list[Finding]:
    """``max_length`` and ``max_completion_length`` of a stage against the model that it grows from. Weights
    are not read.
    """
    if not _scaled(model):
        return _no_room(stage, model)
    from posttrain.models.positions import FIX, row_limit_of

    limit = row_limit_of(model)
    findings = []
    # an answer needs a prompt before it
    for name, most in (("max_length", limit.tokens), ("max_completion_length", limit.tokens - 1)):
        length = getattr(stage, name, 0)
        if limit.follows and length > most:
            setting = f"{stage.name or stage.address}.{name}"
            findings.append(
                Finding(
                    name="rows_fit_the_model",
                    value=float(length),
                    threshold=float(most),
                    passed=False,
                    evidence=f"{setting} is {length}, the model reads rows of at most {limit.tokens} tokens: "
                    f"{limit.why}",
                    advice=f"set {setting}={most}, {FIX}",
                )
            )
    return findings


def _no_room(stage: Stage, model: Path) -> list[Finding]:
    """An answer as long as the model's context leaves no prompt before it. Rows that are longer than a plain
    table are told with their number, once they can be read (``rows_ahead``).
    """
    file, length = model / "config.json", getattr(stage, "max_completion_length", 0)
    config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    context = config.get("max_position_embeddings") or config.get("n_positions")
    if not isinstance(context, int) or length < context:
        return []
    setting = f"{stage.name or stage.address}.max_completion_length"
    return [
        Finding(
            name="answers_fit_the_model",
            value=float(length),
            threshold=float(context - 1),
            passed=False,
            evidence=f"{setting} is {length}, the model has {context} positions for a prompt and its answer",
            advice=f"set {setting} to less than {context}, as much less as the prompts are long",
        )
    ]


def _scaled(model: Path) -> bool:
    """Whether a config states more than one plain position table: what has to be loaded to look is slow."""
    file = model / "config.json"
    config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return any(kind not in (None, "default") for kind in _kinds(config, False))


def _kinds(value: Any, inside: bool) -> list[Any]:
    if not isinstance(value, dict):
        return []
    here = [value.get("rope_type", value.get("type"))] if inside else []
    nested = [
        _kinds(one, inside or name in ("rope_scaling", "rope_parameters")) for name, one in value.items()
    ]
    return here + [kind for kinds in nested for kind in kinds]
