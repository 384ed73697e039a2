"""Which library computes ``x W'``: oneDNN in float32 on AMD's processors, PyTorch's default everywhere else.

oneDNN measured 1.1 to 1.4 times as fast there as the default (MKL) at the sizes of training. On Intel's
processors the default was as fast or up to a tenth faster.

Gradients by ``W`` stay with the default, which was no slower there. oneDNN keeps half a megabyte of code for
every number of rows that it has met, up to a thousand of them, so it is asked for multiples of ``ROWS``
alone; ``rows_to_add`` says how many rows a caller may add.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.kernels.processor import processor_maker

ROWS = 64
_LEAST = 256  # rows; below, the layout of the matrix, made at each call, and rows added cost what is saved
_NUMBERS = 1 << 16  # of the matrix


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_ONEDNN = _has_onednn() and processor_maker() == "amd"


def rows_to_add(rows: int, device: torch.device) -> int:
    """How many more make a number of rows that is multiplied quickly; 0 where that is not worth it."""
    step = ROWS if rows < 32 * ROWS else 4 * ROWS  # of many rows the last tile: sizes are fewer still
    return -rows % step if _ONEDNN and device.type == "cpu" and rows >= _LEAST else 0


def _suits_onednn(rows: int) -> bool:
    return rows >= _LEAST and rows % ROWS == 0


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        _ONEDNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.numel() >= _NUMBERS
        and _suits_onednn(x.numel() // x.shape[-1])
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def matmul_t(x: Tensor, weight: Tensor) -> Tensor:
    """x [N, in] times the transpose of weight [out, in] to [N, out]; no gradient passes."""
    return _onednn(x, weight) if _by_onednn(x, weight) else x @ weight.T


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight = ctx.saved_tensors
        g = grads[0].flatten(0, -2)
        wanted = ctx.needs_input_grad
        by_x = matmul_t(g, weight.T).view(x.shape) if wanted[0] else None
        by_weight = g.T @ x.flatten(0, -2) if wanted[1] else None
        return by_x, by_weight, g.sum(0) if wanted[2] else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in] times the transpose of weight [out, in], plus bias [out]: ``F.linear``, differentiable."""
    if not _by_onednn(x, weight) or torch.is_autocast_enabled(x.device.type):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight, bias)  # type: ignore[no-any-return]
    return _onednn(x, weight, bias)
