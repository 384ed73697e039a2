"""Where and how the models of roles are held and computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.metrics import Metric, declare_metric
from posttrain.models.frozen import hold
from posttrain.models.loading import short
from posttrain.models.lora import Lora
from posttrain.models.packed_attention import packs

TRUNK_ROUNDING = declare_metric(
    "trunk_rounding",
    "How far the compressed trunk's hidden states are from those in float32, relative.",
    unit="ratio",
    better="down",
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how models are held and computed. ``recompute`` trades time for memory in the backward pass
    and changes no result. ``compute="bfloat16"`` makes the matrix products of trunks in that type, from
    weights held in ``dtype``; heads and what the optimizer moves stay in ``dtype``.
    """

    device: str = "cpu"
    dtype: str = "float32"
    recompute: bool = False
    compute: str | None = None

    @property
    def product(self) -> torch.dtype | None:
        """``compute`` as torch names it where it is short. Raises UserError for another type."""
        return short(self.compute)


def loads_to(lora: Lora | None, place: Place) -> str:
    """Where a model is loaded to: one that will be held in fewer bits goes to its device when it is."""
    return place.device if lora is None or lora.trunk == "float32" else "cpu"


def held(model: Any, lora: Lora | None, place: Place, again: Callable[[], Any]) -> float | None:
    """Holds the trunk of ``model`` as ``lora`` says; by how much its numbers moved, None where not at all."""
    if lora is None or lora.trunk == "float32":
        return None
    packs(model.base_model)  # finds it out by reading, so before its numbers differ
    return hold(model, lora.trunk, place.device, again)


def rounding_metrics(rounding: float | None) -> dict[str, Metric]:
    """What a report says of it."""
    return {} if rounding is None else TRUNK_ROUNDING.of(rounding)
