"""``x W'`` in float32 on AMD's processors by oneDNN, whose products measured 1.1 to 1.4 times as fast there
as those of PyTorch's default (MKL) at the sizes of training. On Intel's the default was as fast or up to a
tenth faster; it is what everything else uses.

Gradients by ``W`` stay with the default, which was no slower there. oneDNN keeps half a megabyte of code for
every number of rows that it has met, up to a thousand of them, so it is asked for multiples of ``ROWS``
alone; ``missing`` says how many rows a caller may add.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.processor import processor_maker

ROWS = 64
_LEAST = 256  # rows; below, the layout of the matrix, made at each call, and rows added cost what is saved
_NUMBERS = 1 << 16  # of the matrix


def _known() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_KNOWN = _known() and processor_maker() == "amd"


def missing(rows: int, device: torch.device) -> int:
    """How many more make a number of rows that is multiplied quickly; 0 where that is not worth it."""
    step = ROWS if rows < 32 * ROWS else 4 * ROWS  # of many rows the last tile: sizes are fewer still
    return -rows % step if _KNOWN and device.type == "cpu" and rows >= _LEAST else 0


def _multiplied(rows: int) -> bool:
    return rows >= _LEAST and rows % ROWS == 0


def _quick(x: Tensor, weight: Tensor) -> bool:
    return (
        _KNOWN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.numel() >= _NUMBERS
        and _multiplied(x.numel() // x.shape[-1])
    )


def _made(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def times(x: Tensor, weight: Tensor) -> Tensor:
    """x [N, in] times the transpose of weight [out, in] to [N, out]; its gradient is not known."""
    return _made(x, weight) if _quick(x, weight) else x @ weight.T


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return _made(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight = ctx.saved_tensors
        g = grads[0].flatten(0, -2)
        wanted = ctx.needs_input_grad
        by_x = times(g, weight.T).view(x.shape) if wanted[0] else None
        by_weight = g.T @ x.flatten(0, -2) if wanted[1] else None
        return by_x, by_weight, g.sum(0) if wanted[2] else None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in] times the transpose of weight [out, in], plus bias [out]: ``F.linear``, differentiable."""
    if not _quick(x, weight) or torch.is_autocast_enabled(x.device.type):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Product.apply(x, weight, bias)  # type: ignore[no-any-return]
    return _made(x, weight, bias)
