"""Calls tiles.c: the logsumexp and entropy of a tile of logits, and its gradient, in one pass each."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from posttrain.kernels.compiled import kernel_path, library

VERSION = 1  # as in tiles.c
_POINTER, _LONG = ctypes.c_void_p, ctypes.c_long


@cache
def _library() -> Any:
    functions = {
        "posttrain_tile_stats": [*[_POINTER] * 3, _LONG, _LONG],
        "posttrain_tile_gradient": [*[_POINTER] * 6, _LONG, _LONG],
    }
    return library("posttrain.kernels._tiles", VERSION, functions, kernel_path())


def supported(logits: Tensor) -> bool:
    """Whether the functions of this file can be called: compiled, and float32 that is contiguous on a CPU."""
    on_cpu = logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.is_contiguous()
    return on_cpu and _library() is not None


def lse_and_entropy(logits: Tensor, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """Of logits [n, v]: logsumexp [n] and the entropy [n], None unless wanted."""
    rows, count = logits.shape
    lse, entropy = logits.new_empty(rows), logits.new_empty(rows) if with_entropy else None
    to_entropy = None if entropy is None else entropy.data_ptr()
    _library().posttrain_tile_stats(logits.data_ptr(), lse.data_ptr(), to_entropy, rows, count)
    return lse, entropy


def gradient_(
    logits: Tensor, lse: Tensor, by_logprob: Tensor, entropy: tuple[Tensor, Tensor] | None, chosen: Tensor
) -> Tensor:
    """Logits [n, v] become their gradient, in place.

    ``lse`` [n] is over all tiles, ``by_logprob`` [n] the gradient by the chosen token's log-probability,
    ``entropy`` the gradient by the entropy [n] and the entropy [n], ``chosen`` [n] a tile's column or -1.
    """
    by_entropy, of_all = (None, None) if entropy is None else (x.contiguous() for x in entropy)
    tensors = (logits, lse.contiguous(), by_logprob.contiguous(), by_entropy, of_all, chosen.contiguous())
    pointers = [None if x is None else x.data_ptr() for x in tensors]
    _library().posttrain_tile_gradient(*pointers, *logits.shape)
    return logits
