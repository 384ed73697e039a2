"""Rows with common prefixes as one line of tokens, in which a shared prefix stands once.

After sorting, every row shares a prefix with the row before it; the tokens after that prefix are its new
tokens. The line holds the new tokens of all rows, one row after another. A decoder's token sees only what is
before it, so a shared prefix is one computation, and its gradient is the sum over the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from posttrain.models.varlen import VarlenIndex, varlen_index

CALL = 1000  # measured cost of a call of the attention, in pairs of query and key,
GATHER = 12  # and of gathering a token


@dataclass(frozen=True, eq=False)
class Block:
    """b rows that attend in one call, with at most Q new tokens and K tokens in all."""

    shape: tuple[int, int]  # b, Q
    count: int  # n new tokens
    queries: Tensor | None  # [b, Q] index among the n, padded; None: n is b * Q, and they lie in order
    real: Tensor | None  # [n] index into [b * Q]; None where ``queries`` is
    keys: Tensor | None  # [b, K] index into the line; None: without prefixes the keys are the queries
    sees: Tensor | None  # [b, 1, Q, K] bool; None: causal
    _added: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """K, the keys of a row, padded."""
        return self.shape[1] if self.keys is None else int(self.keys.shape[1])

    def mask(self, dtype: torch.dtype) -> Tensor | None:
        """``sees`` as what is added to scores of this type; made once for all layers."""
        if self.sees is None:
            return None
        if dtype not in self._added:
            made = torch.zeros(self.sees.shape, dtype=dtype, device=self.sees.device)
            self._added[dtype] = made.masked_fill_(~self.sees, float("-inf"))
        return self._added[dtype]


@dataclass(frozen=True, eq=False)
class Fetched:
    """Indices of the queries and keys of all blocks, one block after another; None: the line as it is.

    One gather serves all blocks, so that its gradient is added to the line once and not once a block.
    """

    queries: Tensor | None  # [sum of b * Q] index into the line, padded
    keys: Tensor | None  # [sum of b * K] index into the line
    real: Tensor | None  # [N] index into the padded queries of what stands in the line


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """B rows as a line of N tokens.

    ``paths`` has the indices of each row's tokens in the line; ``order`` the rows that have new tokens, in
    the order of the line, and how many; ``blocks`` cover the line in order.
    """

    tokens: Tensor  # [N]
    positions: Tensor  # [N] how many tokens of its row are before it
    paths: list[list[int]]
    order: list[tuple[int, int]]
    blocks: tuple[Block, ...]
    longest: int

    @property
    def sizes(self) -> list[int]:
        """New tokens in each block."""
        return [block.count for block in self.blocks]

    @cached_property
    def fetched(self) -> Fetched:
        """Indices of the queries and keys of all blocks; computed once for all layers."""
        starts = accumulate([0, *self.sizes])
        queries, keys, real = [], [], []
        padded = 0
        for block, start in zip(self.blocks, starts, strict=False):
            b, Q = block.shape
            lies = torch.arange(block.count, device=self.tokens.device)
            asked = lies if block.queries is None else block.queries.flatten()
            queries.append(asked + start)
            keys.append(asked + start if block.keys is None else block.keys.flatten())
            real.append((lies if block.real is None else block.real) + padded)
            padded += b * Q
        uneven = any(block.queries is not None for block in self.blocks)
        shared = any(block.keys is not None for block in self.blocks)
        return Fetched(
            queries=torch.cat(queries) if uneven else None,
            keys=torch.cat(keys) if uneven or shared else None,
            real=torch.cat(real) if uneven else None,
        )

    @cached_property
    def varlen_index(self) -> VarlenIndex:
        """The rows as FlashAttention's variable-length interface takes them; computed once for all layers."""
        return varlen_index(
            [(new_tokens, self.paths[row]) for row, new_tokens in self.order], self.tokens.device
        )


def sort_by_prefix(rows: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """The order in which neighbours share most, and how many tokens each then shares with the one before."""
    order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
    shared = [0]
    for before, row in pairwise(order):
        a, b = rows[before], rows[row]
        least = min(len(a), len(b))
        shared.append(next((i for i in range(least) if a[i] != b[i]), least))
    return order, shared


def build_tree(rows: Sequence[Sequence[int]], shared: Sequence[int], device: torch.device) -> PrefixTree:
    """The tree of rows that ``sort_by_prefix`` ordered; row i shares ``shared[i]`` tokens with row i - 1."""
    sizes = [(len(row) - same, len(row)) for row, same in zip(rows, shared, strict=True)]
    roots = sorted((i for i, same in enumerate(shared) if not same), key=lambda i: sizes[i])
    branches = sorted(
        (i for i, (new_tokens, _) in enumerate(sizes) if shared[i] and new_tokens),
        key=lambda i: (shared[i], sizes[i]),
    )
    members = [*_together(roots, sizes), *_together(branches, sizes)]
    line = [row for block in members for row in block]
    starts = dict(zip(line, accumulate([0, *(sizes[row][0] for row in line)]), strict=False))
    paths: list[list[int]] = []
    for row, (new_tokens, _) in enumerate(sizes):
        start = starts.get(row, 0)
        prefix = paths[-1][: shared[row]] if shared[row] else []
        paths.append([*prefix, *range(start, start + new_tokens)])
    return PrefixTree(
        tokens=torch.tensor([token for row in line for token in rows[row][shared[row] :]], device=device),
        positions=torch.cat([torch.arange(shared[row], len(rows[row])) for row in line]).to(device),
        paths=paths,
        order=[(row, sizes[row][0]) for row in line],
        blocks=tuple(
            _block([sizes[i] for i in block], [paths[i] for i in block], device) for block in members
        ),
        longest=max(len(row) for row in rows),
    )


def _together(rows: list[int], sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Groups consecutive rows of similar shape, as long as their padding costs less than a call."""
    part: list[int] = []
    q = k = 0
    even = True
    for row in rows:
        new_tokens, length = sizes[row]
        wide, long = max(q, new_tokens), max(k, length)
        waste = wide * long * (len(part) + 1) - q * k * len(part) - new_tokens * length
        stays = even and (wide, long) == (new_tokens, length) and (not part or (q, k) == (new_tokens, length))
        if not stays:
            waste += GATHER * (new_tokens + (sum(sizes[i][0] for i in part) if even else 0))
        if part and waste > CALL:
            yield part
            part, wide, long, stays = [], new_tokens, length, True
        part.append(row)
        q, k, even = wide, long, stays
    if part:
        yield part


def _block(sizes: list[tuple[int, int]], paths: list[list[int]], device: torch.device) -> Block:
    rows, Q, K = len(sizes), max(new_tokens for new_tokens, _ in sizes), max(length for _, length in sizes)
    new_tokens, length = torch.tensor(sizes).unbind(1)
    step = torch.arange(Q)
    count = int(new_tokens.sum())
    even = count == rows * Q
    places = (new_tokens.cumsum(0) - new_tokens)[:, None] + torch.minimum(
        step, new_tokens[:, None] - 1
    )  # [b, Q]
    keys = sees = None
    if bool((new_tokens < length).any()):
        keys = torch.zeros(rows, K, dtype=torch.long)
        for i, path in enumerate(paths):
            keys[i, : len(path)] = torch.tensor(path)
        key = torch.arange(K)
        last = (length - new_tokens)[:, None] + step  # [b, Q] the last key a query sees
        sees = (key <= last[..., None]) & (key < length[:, None, None])
        sees = sees[:, None].to(device)
    return Block(
        shape=(rows, Q),
        count=count,
        queries=None if even else places.to(device),
        real=None if even else (step < new_tokens[:, None]).flatten().nonzero()[:, 0].to(device),
        keys=None if keys is None else keys.to(device),
        sees=sees,
    )
