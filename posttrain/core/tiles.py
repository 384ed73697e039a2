"""What tiles.c does, where it was compiled: what a tile of logits says and its gradient, in one pass each."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from posttrain.compiled import kernel_path, library

VERSION = 1  # as in tiles.c
_POINTER, _LONG = ctypes.c_void_p, ctypes.c_long


@cache
def _library() -> Any:
    functions = {
        "posttrain_tile_said": [*[_POINTER] * 3, _LONG, _LONG],
        "posttrain_tile_moved": [*[_POINTER] * 6, _LONG, _LONG],
    }
    return library("posttrain.core._tiles", VERSION, functions, kernel_path())


def fit(logits: Tensor) -> bool:
    """Whether these are computed here."""
    here = logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.is_contiguous()
    return here and _library() is not None


def said(logits: Tensor, entropy: bool) -> tuple[Tensor, Tensor | None]:
    """Of logits [n, v]: logsumexp [n] and the entropy [n]."""
    rows, count = logits.shape
    lse, own = logits.new_empty(rows), logits.new_empty(rows) if entropy else None
    at = None if own is None else own.data_ptr()
    _library().posttrain_tile_said(logits.data_ptr(), lse.data_ptr(), at, rows, count)
    return lse, own


def moved(
    logits: Tensor, lse: Tensor, by_logprob: Tensor, entropy: tuple[Tensor, Tensor] | None, chosen: Tensor
) -> Tensor:
    """Logits [n, v] become their gradient.

    lse [n] is of all tiles together, ``by_logprob`` [n] the gradient of the chosen token's log-probability;
    ``entropy`` is the entropy's gradient [n] and the entropy [n]. ``chosen`` [n] is a place in the tile, or
    -1.
    """
    by_entropy, own = (None, None) if entropy is None else (x.contiguous() for x in entropy)
    tensors = (logits, lse.contiguous(), by_logprob.contiguous(), by_entropy, own, chosen.contiguous())
    at = [None if x is None else x.data_ptr() for x in tensors]
    _library().posttrain_tile_moved(*at, *logits.shape)
    return logits
