"""All rows of a line in one call of FlashAttention, on a GPU in short types.

The kernel aligns the last query of a row with its last key (Dao 2023, from version 2.1 on), so a row whose
beginning another row holds is few queries on many keys, and what is shared is fetched, not computed. Whether
this PyTorch and this GPU do so is tried once, values and gradients, before anything relies on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

_SHORT = (torch.bfloat16, torch.float16)
_WIDEST = 256  # numbers of a head, in multiples of 8
_CAUSAL = (-1, 0)


@dataclass(frozen=True, eq=False)
class VarlenIndex:
    """The offsets of a line's rows, as FlashAttention's variable-length kernel takes them."""

    queries: Tensor  # [rows + 1] int32, new tokens before each row
    keys: Tensor  # [rows + 1] int32, tokens that the rows before each one see
    places: Tensor | None  # [sum of keys] index into the line; None: each row sees its new tokens alone
    most: tuple[int, int]  # queries and keys of a row


def varlen_index(rows: list[tuple[int, list[int]]], device: torch.device) -> VarlenIndex:
    """Of rows in the order of the line, each with its number of new tokens and the indices of
    all its tokens.
    """
    query_counts, key_counts = [count for count, _ in rows], [len(path) for _, path in rows]
    starts = [
        torch.tensor([0, *accumulate(counts)], dtype=torch.int32, device=device)
        for counts in (query_counts, key_counts)
    ]
    places = (
        None
        if query_counts == key_counts
        else torch.tensor([at for _, path in rows for at in path], device=device)
    )
    return VarlenIndex(starts[0], starts[1], places, (max(query_counts), max(key_counts)))


def at_once(q: Tensor, k: Tensor, v: Tensor, rows: VarlenIndex, scale: float | None) -> Tensor:
    """q [N, H, E], k and v [N, K, E] of a line to [N, H, E]; K divides H."""
    if rows.places is not None:
        k, v = (x.index_select(0, rows.places) for x in (k, v))
    out: Tensor = _kernel()(
        q,
        k,
        v,
        rows.queries,
        rows.keys,
        *rows.most,
        window_size=_CAUSAL,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return out


def _kernel() -> Any:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


def takes(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Whether ``at_once`` may be used for heads of ``width`` numbers there."""
    fits = dtype in _SHORT and width % 8 == 0 and width <= _WIDEST
    return fits and device.type == "cuda" and _right(device, dtype, width)


@cache
def _right(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Whether two rows, one of which begins with three tokens of the other, come out as they should; tried
    with gradients and without autocast, whatever the pass that asks is under.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        return _tried(device, dtype, width)


def _tried(device: torch.device, dtype: torch.dtype, width: int) -> bool:
    paths = [list(range(7)), [0, 1, 2, *range(7, 11)]]
    draw = torch.Generator().manual_seed(0)
    qkv = [
        torch.randn(11, heads, width, generator=draw).to(device, dtype).requires_grad_()
        for heads in (4, 2, 2)
    ]
    toward = torch.randn(11, 4, width, generator=draw).to(device, dtype)
    try:
        q, k, v = qkv
        out = at_once(q, k, v, varlen_index([(7, paths[0]), (4, paths[1])], device), None)
        results = [out.detach(), *torch.autograd.grad(out, qkv, toward)]
    except (RuntimeError, ImportError, TypeError, NotImplementedError, ValueError):
        return False
    wide = [x.detach().double().requires_grad_() for x in qkv]
    plain = torch.cat([_plain(wide, paths[0], 7), _plain(wide, paths[1], 4)])
    right = [plain.detach(), *torch.autograd.grad(plain, wide, toward.double())]
    near = 8 * torch.finfo(dtype).eps
    return all(
        float((a.double() - b).abs().max()) <= near * float(b.abs().max())
        for a, b in zip(results, right, strict=True)
    )


def _plain(qkv: list[Tensor], path: list[int], queries: int) -> Tensor:
    """The outputs of the last ``queries`` queries of one row, [queries, H, E], by definition."""
    at = torch.tensor(path, device=qkv[0].device)
    q, k, v = qkv[0][at[-queries:]], qkv[1][at], qkv[2][at]
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    scores = torch.einsum("qhe,khe->hqk", q, k) / q.shape[-1] ** 0.5
    later = torch.arange(len(path)) > torch.arange(len(path) - queries, len(path))[:, None]
    weights = scores.masked_fill(later.to(scores.device), float("-inf")).softmax(-1)
    return torch.einsum("hqk,khe->qhe", weights, v)
