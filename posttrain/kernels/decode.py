"""Calls decode.c and packed_matmul.c: attention, norm, matrix products and token choice of a decoding step.

``decode_kernels()`` is None where they were not compiled or POSTTRAIN_KERNELS is ``off``, and nothing here is
used on a GPU's tensors: PyTorch then does the same in more steps, equal up to rounding. A run's record says
which it was. ``matmul`` is used where the library shares PyTorch's threads: one thread alone would be slower
than PyTorch on all.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from posttrain.kernels.compiled import kernel_path, library
from posttrain.kernels.processor import processor_features, processor_maker

VERSION = 5  # as in decode.c
WIDEST = 256  # of an attention head
_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
_HALF = {torch.float32: 0, torch.bfloat16: 1}
PLAIN, SILU, TIMES, PLUS = range(4)  # what is done with a result, as in packed_matmul.c


class DecodeKernels:
    """The functions of the library; tensors are contiguous, on the CPU, float32 or bfloat16."""

    def __init__(self, compiled: Any, path: str) -> None:
        self.path = path
        self._attend, self._norm = compiled.posttrain_attend, compiled.posttrain_norm
        self._choose, self._pack = compiled.posttrain_choose, compiled.posttrain_pack
        self._matmul, self._panel = compiled.posttrain_matmul, int(compiled.posttrain_panel())
        self.threaded = bool(compiled.posttrain_threaded())

    @staticmethod
    def supports(device: torch.device, dtype: torch.dtype, width: int) -> bool:
        """Whether they compute what such a model needs."""
        return device.type == "cpu" and dtype in _HALF and width % 2 == 0 and width <= WIDEST

    def multiplies_fastest(self, dtype: torch.dtype) -> bool:
        """Whether ``matmul`` is the fastest there is for such numbers on this processor. bfloat16 is
        better widened than multiplied by oneDNN where the processor has no such instructions, and on Intel's
        with AVX-512 but without the matrix unit, where they take twice the time of float32's.
        """
        slow = processor_maker() == "intel" and "amx_bf16" not in processor_features()
        return self.threaded and (dtype == torch.float32 or self.path != "avx512" or slow)

    def pack(self, weight: Tensor, scale: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor:
        """A matrix [N, K], columns times ``scale`` [K], laid out in ``dtype`` for ``matmul``."""
        weight, (outputs, inputs) = weight.float().contiguous(), weight.shape
        by = None if scale is None else scale.float().contiguous()
        out = torch.empty(-(-outputs // self._panel) * self._panel * inputs, dtype=dtype)
        at = None if by is None else by.data_ptr()
        self._pack(weight.data_ptr(), at, out.data_ptr(), outputs, inputs, _HALF[dtype])
        return out

    def matmul(
        self, x: Tensor, packed: Tensor, bias: Tensor | None, outputs: int, how: int, other: Tensor | None
    ) -> Tensor:
        """[R, N] from x [R, K] in the type of the packed matrix, bias float32 [N] and ``other`` [R, N].

        Raises MemoryError.
        """
        x = x.contiguous()
        other = None if other is None else other.contiguous()
        out = x.new_empty(len(x), outputs)
        at = (None if one is None else one.data_ptr() for one in (bias, other))
        sizes = (len(x), x.shape[1], outputs)
        half = _HALF[packed.dtype]
        if self._matmul(x.data_ptr(), packed.data_ptr(), *at, out.data_ptr(), *sizes, how, half):
            raise MemoryError("no memory for a matrix product")
        return out

    def attend(
        self,
        fused: Tensor,
        keys: Tensor,
        values: Tensor,
        turns: tuple[Tensor, Tensor],
        past: Tensor,
        heads: int,
    ) -> Tensor:
        """[R, H E] from fused [R, (H + 2 K) E], of which queries and keys have not turned yet.

        Each row's key and value join its slot of the cache, keys and values [slots, K, C, E], at column
        ``past`` [R], and it attends to all its columns. ``turns`` are cos and sin [C, E] float32, from
        ``LlamaDecoder.positions``. Raises ValueError for tensors of another layout, and MemoryError.
        """
        rows, (slots, key_heads, columns, width) = len(fused), keys.shape
        cos, sin = turns
        plain = all(x.is_contiguous() for x in (fused, keys, values, cos, sin, past))
        if not plain or rows > slots or cos.shape[1] != width or past.dtype != torch.long:
            raise ValueError("attention's tensors are not laid out as they must be")
        out = fused.new_empty(rows, heads * width)
        failed = self._attend(
            fused.data_ptr(),
            keys.data_ptr(),
            values.data_ptr(),
            cos.data_ptr(),
            sin.data_ptr(),
            past.data_ptr(),
            out.data_ptr(),
            rows,
            heads,
            key_heads,
            width,
            columns,
            _HALF[fused.dtype],
        )
        if failed:
            raise MemoryError("no memory for attention")
        return out

    def norm(self, x: Tensor, eps: float) -> Tensor:
        """x / sqrt(mean(x^2) + eps) of each row of x [R, D]."""
        x = x.contiguous()
        out = torch.empty_like(x)
        self._norm(x.data_ptr(), out.data_ptr(), len(x), x.shape[1], eps, _HALF[x.dtype])
        return out

    def choose(self, logits: Tensor, temperature: Tensor | None, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """As ``choose.choose``, from logits [R, V], temperature [R] or None, uniform [R].

        Raises ValueError where a row's logits are no distribution: NaN, or none above minus infinity.
        """
        rows, count = logits.shape
        like: dict[str, Any] = {"dtype": torch.float32, "device": logits.device}
        logits = logits.contiguous()
        temperature = (
            torch.ones(rows, **like) if temperature is None else temperature.to(**like)
        ).contiguous()
        uniform = uniform.to(torch.float64).contiguous()
        tokens = torch.empty(rows, dtype=torch.long, device=logits.device)
        logprobs = torch.empty(rows, **like)
        failed = self._choose(
            logits.data_ptr(),
            temperature.data_ptr(),
            uniform.data_ptr(),
            tokens.data_ptr(),
            logprobs.data_ptr(),
            rows,
            count,
            _HALF[logits.dtype],
        )
        if failed == 2:
            raise ValueError("logits that are not finite: the weights or the model's numbers are broken")
        if failed:
            raise MemoryError("no memory for choosing tokens")
        return tokens, logprobs


def decode_kernels_of(path: str | None) -> DecodeKernels | None:
    """A path's functions; None where the library is absent, cannot be loaded, or is of another version."""
    functions = {
        "posttrain_attend": [*[_POINTER] * 7, *[_LONG] * 5, _INT],
        "posttrain_norm": [_POINTER, _POINTER, _LONG, _LONG, _FLOAT, _INT],
        "posttrain_choose": [*[_POINTER] * 5, _LONG, _LONG, _INT],
        "posttrain_pack": [*[_POINTER] * 3, _LONG, _LONG, _INT],
        "posttrain_matmul": [*[_POINTER] * 5, *[_LONG] * 3, _INT, _INT],
    }
    compiled = library("posttrain.kernels._decode", VERSION, functions, path)
    return None if compiled is None or path is None else DecodeKernels(compiled, path)


@cache
def decode_kernels() -> DecodeKernels | None:
    """Those of the path that is taken. Raises NoSuchPath."""
    return decode_kernels_of(kernel_path())
