"""Matrices laid out once for the multiplications that follow: oneDNN's blocked form on a CPU.

At decode sizes (1 to 64 rows) torch's own linear lays the matrix out again at every call; packed once, the
same product takes half to two thirds of the time, and a row's result does not depend on how many rows there
are, to the bit, from two rows on.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_ROWS = 256  # the layout is chosen for so many rows; measured equal to that of the true number from 1 to 300


def _packable(weight: Tensor) -> bool:
    """Whether oneDNN has this product on this machine."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    half = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return half or weight.dtype == torch.float32


class Linear:
    """``x W' + b`` for x [R, in], with what follows it computed while the result is at hand.

    Holds a copy of weight [out, in] and bias [out].
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.bias = None if bias is None else bias.detach().clone()
        self.packed = _packable(weight)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _ROWS)
        else:
            self.weight = weight.detach().clone()

    def __call__(self, x: Tensor) -> Tensor:
        return self._unary(x, "none", "")

    def silu(self, x: Tensor) -> Tensor:
        return self._unary(x, "swish", "") if self.packed else F.silu(self(x))

    def gelu_tanh(self, x: Tensor) -> Tensor:
        return self._unary(x, "gelu", "tanh") if self.packed else F.gelu(self(x), approximate="tanh")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """(x W' + b) * other, both [R, out]."""
        return self._binary(x, other, "mul") if self.packed else self(x) * other

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """x W' + b + other, both [R, out]."""
        return self._binary(x, other, "add") if self.packed else self(x) + other

    def _unary(self, x: Tensor, name: str, kind: str) -> Tensor:
        if not self.packed:
            return F.linear(x, self.weight, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], kind)
        return out

    def _binary(self, x: Tensor, other: Tensor, name: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, name)
        return out
