"""The device, number types and recomputation of the models of roles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

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
class ModelPlacement:
    """Where and how models are held and computed.

    ``recompute`` trades time for memory in the backward pass and changes no result. With
    ``compute="bfloat16"`` trunks multiply matrices in that type, from weights held in ``dtype``; heads and
    trained parameters stay in ``dtype``.
    """

    device: str = "cpu"
    dtype: str = "float32"
    recompute: bool = False
    compute: str | None = None

    @property
    def matmul_dtype(self) -> torch.dtype | None:
        """The torch type of ``compute`` where it is a half precision. Raises UserError for another type."""
        return short(self.compute)


def loads_to(lora: Lora | None, placement: ModelPlacement) -> str:
    """The device that a model is loaded to; one that will be quantised goes to its own device afterwards."""
    return placement.device if lora is None or lora.trunk == "float32" else "cpu"


def held(
    model: PreTrainedModel, lora: Lora | None, placement: ModelPlacement, again: Callable[[], PreTrainedModel]
) -> float | None:
    """Converts the trunk of ``model`` to the type that ``lora`` names; returns the rounding
    error, or None.
    """
    if lora is None or lora.trunk == "float32":
        return None
    packs(model.base_model)  # its trial must run before the weights are rounded
    return hold(model, lora.trunk, placement.device, again)


def rounding_metrics(rounding: float | None) -> dict[str, Metric]:
    """The rounding error as a metric of a report."""
    return {} if rounding is None else TRUNK_ROUNDING.of(rounding)
