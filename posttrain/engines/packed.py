"""Matrices laid out once for the multiplications that follow: for packed_matmul.c, or in oneDNN's blocks.

At decode sizes (1 to 64 rows) torch's own linear lays the matrix out again at every call; packed once, the
same product takes half to two thirds of the time, and a row's result does not depend on how many rows there
are, to the bit (with oneDNN from two rows on). packed_matmul.c takes another 10 to 50 % off at 4 to 32 rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.kernels.decode import PLAIN, PLUS, SILU, TIMES, DecodeKernels

_ROWS = 256  # the layout is chosen for so many rows; measured equal to that of the true number from 1 to 300


class Linear(Protocol):
    """``x W' + b`` for x [R, in], with what follows it computed while the result is at hand."""

    def __call__(self, x: Tensor) -> Tensor: ...
    def silu(self, x: Tensor) -> Tensor: ...
    def gelu_tanh(self, x: Tensor) -> Tensor: ...
    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """(x W' + b) * other, both [R, out]."""

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """x W' + b + other, both [R, out]."""


def linear(
    weights: Sequence[Tensor],
    bias: Tensor | None,
    scale: Tensor | None,
    like: tuple[torch.device, torch.dtype],
    kernels: DecodeKernels | None,
) -> Linear:
    """A copy of matrices [n, in], stacked, with columns times ``scale`` [in], and of the bias [out]."""
    device, dtype = like
    weight = weights[0].detach() if len(weights) == 1 else torch.cat([x.detach() for x in weights])
    bias = None if bias is None else bias.detach().to(device, dtype, copy=True)
    if kernels is not None and kernels.multiplies_fastest(dtype):
        wide = None if bias is None else bias.float()
        return _Compiled(kernels, kernels.pack(weight, scale, dtype), wide, len(weight))
    matrix = (weight.clone() if scale is None else weight.float() * scale).to(device, dtype)
    return (_OneDNN if _packable(matrix) else _Plain)(matrix, bias)


class _Plain:
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(self(x))

    def gelu_tanh(self, x: Tensor) -> Tensor:
        return F.gelu(self(x), approximate="tanh")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return self(x) * other

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return self(x) + other


def _packable(weight: Tensor) -> bool:
    """Whether oneDNN has this product on this machine."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    half = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return half or weight.dtype == torch.float32


class _OneDNN:
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        return self._unary(x, "none", "")

    def silu(self, x: Tensor) -> Tensor:
        return self._unary(x, "swish", "")

    def gelu_tanh(self, x: Tensor) -> Tensor:
        return self._unary(x, "gelu", "tanh")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return self._binary(x, other, "mul")

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return self._binary(x, other, "add")

    def _unary(self, x: Tensor, name: str, kind: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], kind)
        return out

    def _binary(self, x: Tensor, other: Tensor, name: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, name)
        return out


class _Compiled:
    def __init__(self, kernels: DecodeKernels, packed: Tensor, bias: Tensor | None, outputs: int) -> None:
        self.kernels, self.packed, self.bias, self.outputs = kernels, packed, bias, outputs

    def __call__(self, x: Tensor) -> Tensor:
        return self._made(x, PLAIN)

    def silu(self, x: Tensor) -> Tensor:
        return self._made(x, SILU)

    def gelu_tanh(self, x: Tensor) -> Tensor:
        return F.gelu(self(x), approximate="tanh")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return self._made(x, TIMES, other)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return self._made(x, PLUS, other)

    def _made(self, x: Tensor, how: int, other: Tensor | None = None) -> Tensor:
        return self.kernels.matmul(x, self.packed, self.bias, self.outputs, how, other)
