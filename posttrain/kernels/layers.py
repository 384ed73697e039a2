"""Calls layers.c: the norm, the gate and the rotation of Llama's family, with their gradients.

Less is kept for the backward pass than PyTorch keeps: of the norm its input and a number a row, of the gate
its two inputs.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from posttrain.kernels.compiled import kernel_path, library

VERSION = 1  # as in layers.c
_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
DTYPES = {torch.float32: 0, torch.bfloat16: 1}  # what layers.c computes, and its argument ``half``


@cache
def _library() -> Any:
    functions = {
        "posttrain_norm_forward": [*[_POINTER] * 4, _LONG, _LONG, _FLOAT, _INT],
        "posttrain_norm_backward": [*[_POINTER] * 6, _LONG, _LONG, _INT],
        "posttrain_gate_forward": [*[_POINTER] * 3, _LONG, _INT],
        "posttrain_gate_backward": [*[_POINTER] * 5, _LONG, _INT],
        "posttrain_rotate": [*[_POINTER] * 4, _LONG, _LONG, _LONG, _INT, _INT],
    }
    return library("posttrain.kernels._layers", VERSION, functions, kernel_path())


def compiled() -> bool:
    """Whether the functions of this file can be called at all."""
    return _library() is not None


def supported(*tensors: Tensor) -> bool:
    """Whether they take these: on a CPU, float32 or bfloat16."""
    return all(x.device.type == "cpu" and x.dtype in DTYPES for x in tensors)


def _pointers(*tensors: Tensor | None) -> list[int | None]:
    return [None if x is None else x.data_ptr() for x in tensors]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:  # type: ignore[override]
        x, weight = x.contiguous(), weight.contiguous()
        width = x.shape[-1]
        out, factors = torch.empty_like(x, dtype=dtype), x.new_empty(x.numel() // width)
        _library().posttrain_norm_forward(
            *_pointers(x, weight, out, factors), len(factors), width, eps, DTYPES[dtype]
        )
        ctx.save_for_backward(x, weight, factors)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, factors = ctx.saved_tensors
        g = grads[0].contiguous()
        by_x = torch.empty_like(x)
        by_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        failed = _library().posttrain_norm_backward(
            *_pointers(g, x, weight, factors, by_x, by_weight), len(factors), x.shape[-1], DTYPES[g.dtype]
        )
        if failed:
            raise MemoryError("no memory for the gradient of a norm")
        return by_x, by_weight, None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:  # type: ignore[override]
        gate, up = gate.contiguous(), up.contiguous()
        out = torch.empty_like(gate)
        _library().posttrain_gate_forward(*_pointers(gate, up, out), out.numel(), DTYPES[out.dtype])
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        gate, up = ctx.saved_tensors
        by_gate, by_up = torch.empty_like(gate), torch.empty_like(up)
        _library().posttrain_gate_backward(
            *_pointers(grads[0].contiguous(), gate, up, by_gate, by_up), gate.numel(), DTYPES[gate.dtype]
        )
        return by_gate, by_up


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, back: bool) -> Tensor:
    rows, heads, width = x.shape
    x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    _library().posttrain_rotate(*_pointers(x, cos, sin, out), rows, heads, width, back, DTYPES[x.dtype])
    return out


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        cos, sin = ctx.saved_tensors
        return _rotated(grads[0], cos, sin, True), None, None


def rms_norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """weight * x / sqrt(mean(x^2) + eps) over the last dimension, float32, given out in ``dtype``."""
    return _Norm.apply(x, weight, eps, dtype)  # type: ignore[no-any-return]


def silu_gate(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, of one shape and type."""
    return _Gate.apply(gate, up)  # type: ignore[no-any-return]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [N, H, E] turned by the angles of its positions, cos and sin [N, E] float32."""
    return _Rotation.apply(x, cos, sin)  # type: ignore[no-any-return]
