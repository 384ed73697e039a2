"""What a model's family can be used for, from its config: no weight is read."""

from __future__ import annotations

import inspect
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from posttrain.pipeline.collector import uncollected
from posttrain.pipeline.finding import UserError

with uncollected():
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        PretrainedConfig,
    )


class Abilities(NamedTuple):
    """Of a family: whether transformers has it with a head over words and with a head of one label, and
    whether answers can be sampled from it in batches.
    """

    family: str
    words: bool
    scalar: bool
    sampled: bool


def abilities_of(directory: Path) -> Abilities:
    """Raises UserError for a config that transformers does not know."""
    return _abilities(directory, (directory / "config.json").read_bytes())


@lru_cache(maxsize=64)
def _abilities(directory: Path, _: bytes) -> Abilities:
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise UserError(f"{directory}: could not be loaded ({reason}).") from None
    kind: type[PretrainedConfig] = type(config)
    words = AutoModelForCausalLM._model_mapping.get(kind, None)
    sampled = words is not None and "position_ids" in inspect.signature(words.forward).parameters  # type: ignore[attr-defined, union-attr]
    scalar = kind in AutoModelForSequenceClassification._model_mapping
    return Abilities(config.model_type, words is not None, scalar, sampled)
