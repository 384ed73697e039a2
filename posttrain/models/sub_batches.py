"""Rollouts as what a trunk reads: some rows at a time, compacted to their real tokens.

Packed, the rows of a sub-batch are one line of tokens in which what they share stands once (``tree``).
Padded, they are sorted by length and padded on the right, where causal attention needs no mask: what
every decoder can read, and what packed results are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.core.batch import Rollouts
from posttrain.models.prefix_tree import PrefixTree, build_tree, sort_by_prefix


@dataclass(frozen=True)
class SubBatch:
    """Some rows of the rollouts. S is b * L where they are padded to the longest, N where they are a line."""

    tokens: Tensor  # [b, L] or [1, N]
    rows: Tensor  # [n] row of the rollouts, for each action in the sub-batch
    steps: Tensor  # [n] step of the rollouts
    places: Tensor  # [n] index into S of the state in which the step was chosen
    after: Tensor  # [n] index into S of the state that has read what was chosen
    ends: Tensor  # [b] index into S of the last assistant token of each row
    members: Tensor  # [b] the row of the rollouts
    last: Tensor  # [b] the step of the last action
    tree: PrefixTree | None = None


def sub_batches(rollouts: Rollouts, device: torch.device, most: int, *, longest: int) -> Iterator[SubBatch]:
    """Every row once, at most ``most`` tokens at a time (a longer row is alone).

    Packed where no row has more than ``longest`` tokens; in a line each row ends with its last assistant
    token. The layout depends on the rows alone, so two roles of the same weights give the same bits.
    """
    real, mask = rollouts.context["attention_mask"].bool(), rollouts.action_mask
    index = real.long().cumsum(1) - 1  # [B, T+1] index of a token among the real ones of its row
    step = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, step, -1).amax(1)  # [B]
    if bool((real.sum(1) > longest).any()):
        return _padded(rollouts, index, last, device, most)
    lengths = (index.gather(1, last[:, None] + 1)[:, 0] + 1).clamp(min=1)
    return _packed(rollouts, index, last, lengths, device, most)


def _padded(
    rollouts: Rollouts, index: Tensor, last: Tensor, device: torch.device, most: int
) -> Iterator[SubBatch]:
    tokens, real, mask = (
        rollouts.context["tokens"],
        rollouts.context["attention_mask"].bool(),
        rollouts.action_mask,
    )
    lengths = real.sum(1)
    for part in _by_length(lengths.tolist(), most):
        members = torch.tensor(part, device=tokens.device)
        L = int(lengths[members[-1]])
        inside = real[members]
        compact = tokens.new_zeros(len(part), L)
        compact[torch.arange(L, device=tokens.device) < lengths[members, None]] = tokens[members][inside]
        row, steps = mask[members].nonzero(as_tuple=True)
        offset = torch.arange(len(part), device=tokens.device) * L
        yield SubBatch(
            tokens=compact.to(device),
            rows=members[row],
            steps=steps,
            places=(offset[row] + index[members[row], steps]).to(device),
            after=(offset[row] + index[members[row], steps + 1]).to(device),
            ends=(offset + index[members, last[members] + 1].clamp(min=0)).to(device),
            members=members,
            last=last[members],
        )


def _by_length(lengths: list[int], most: int) -> Iterator[list[int]]:
    """Rows by length, cut where a sub-batch would exceed ``most`` tokens or an eighth of it
    would be padding.
    """
    part: list[int] = []
    real = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        size = (len(part) + 1) * lengths[row]
        if part and (size > most or (size > 512 and size - real - lengths[row] > size // 8)):
            yield part
            part, real = [], 0
        part.append(row)
        real += lengths[row]
    yield part


def _packed(
    rollouts: Rollouts, index: Tensor, last: Tensor, lengths: Tensor, device: torch.device, most: int
) -> Iterator[SubBatch]:
    tokens, real, mask = (
        rollouts.context["tokens"],
        rollouts.context["attention_mask"].bool(),
        rollouts.action_mask,
    )
    ids = [
        row[here][:length].tolist() for row, here, length in zip(tokens, real, lengths.tolist(), strict=True)
    ]
    order, shared = sort_by_prefix(ids)
    for start, stop in _split_evenly([len(ids[row]) for row in order], shared, most):
        part = order[start:stop]
        tree = build_tree([ids[row] for row in part], [0, *shared[start + 1 : stop]], device)
        members = torch.tensor(part, device=tokens.device)
        paths = torch.zeros(len(part), tree.longest, dtype=torch.long, device=tokens.device)
        inside = torch.arange(tree.longest, device=tokens.device) < lengths[members, None]
        paths[inside] = torch.tensor([node for path in tree.paths for node in path], device=tokens.device)
        row, steps = mask[members].nonzero(as_tuple=True)
        yield SubBatch(
            tokens=tree.tokens[None],
            rows=members[row],
            steps=steps,
            places=paths[row, index[members[row], steps]].to(device),
            after=paths[row, index[members[row], steps + 1]].to(device),
            ends=paths.gather(1, lengths[members, None] - 1)[:, 0].to(device),
            members=members,
            last=last[members],
            tree=tree,
        )


def _split_evenly(lengths: list[int], shared: list[int], most: int) -> Iterator[tuple[int, int]]:
    """Cuts consecutive rows into pieces of about equal size, at most ``most`` tokens each; the first row of a
    piece shares no tokens.
    """
    total = sum(lengths) - sum(shared)
    limit = total / -(-total // most)
    start, used = 0, 0
    for row, (length, same) in enumerate(zip(lengths, shared, strict=True)):
        new_tokens = length - same
        if row > start and (used + new_tokens > most or used + new_tokens / 2 > limit):
            yield start, row
            start, used, new_tokens = row, 0, length
        used += new_tokens
    yield start, len(lengths)
