"""The cache of the fast decoder: prompts are read, rows step and are rearranged. Shapes as in llama.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from posttrain.kernels.decode import DecodeKernels

_EVEN = 16  # columns read are a multiple: else the last bits of a row would say how long the others are
_LEAST_ROWS = 4  # fewer take longer: oneDNN's kernel for 1 and 2 rows is slower than that for 4


def _even(columns: int) -> int:
    return -(-columns // _EVEN) * _EVEN


class Layers(Protocol):
    """What the cache needs of the decoder whose keys and values it holds."""

    heads: int
    key_heads: int
    width: int  # E, of one head
    device: torch.device
    dtype: torch.dtype

    @property
    def layers(self) -> Sequence[Any]: ...
    @property
    def kernels(self) -> DecodeKernels | None: ...
    def positions(self, columns: int) -> tuple[Tensor, Tensor]: ...
    def embedded(self, tokens: Tensor) -> Tensor: ...
    def qkv(self, layer: Any, x: Tensor) -> Tensor: ...
    def turned(self, fused: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...
    def rest(self, layer: Any, x: Tensor, attended: Tensor) -> Tensor: ...
    def logits(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Read:
    """A prompt that has been read, or one token id on: its own columns, after what all share."""

    keys: Tensor  # [L, K, n, E]
    values: Tensor  # [L, K, n, E]
    logits: Tensor  # [V] of the next token


def shared_beginning(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, such as a system prompt; each keeps at least one of its own.

    0 where reading them apart would cost more than it saves.
    """
    least = min(map(len, prompts)) - 1
    count = next((i for i in range(least) if len({prompt[i] for prompt in prompts}) > 1), least)
    return count if len(prompts) > 1 and count >= 8 else 0


class Slots:
    """Rows under way, one a slot, those in use first: keys and values [L, slots, K, C, E]."""

    refill_threshold = 0.0  # a slot is given away the moment it is free

    def __init__(self, decoder: Layers, prompts: Sequence[Sequence[int]], slots: int, columns: int):
        d = self.decoder = decoder
        shape = (len(d.layers), slots, d.key_heads, _even(columns), d.width)
        # Zeros, because PyTorch's attention multiplies what is masked by 0, and garbage may be infinite.
        self.keys = torch.zeros(shape, dtype=d.dtype, device=d.device)
        self.values = torch.zeros_like(self.keys)
        self.cos, self.sin = d.positions(columns)
        self.past = torch.zeros(slots, dtype=torch.long, device=d.device)  # columns that each row has
        self.lengths: list[int] = []  # the same, of the slots in use
        self.shared = 0
        count = shared_beginning(prompts)
        if count:
            (read,) = self.read([prompts[0][:count]])
            self.keys[..., :count, :] = read.keys[:, None]
            self.values[..., :count, :] = read.values[:, None]
            self.shared = count

    def read(self, prompts: Sequence[Sequence[int]]) -> list[Read]:
        """Computes keys and values of each prompt, without padding; prompts of one length attend together."""
        d, shared = self.decoder, self.shared
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        lengths = [len(prompts[i]) - shared for i in order]
        tokens = torch.tensor([t for i in order for t in prompts[i][shared:]], device=d.device)
        places = torch.cat([torch.arange(shared, shared + n, device=d.device) for n in lengths])
        cos, sin = self.cos[places][:, None], self.sin[places][:, None]
        x, keys_and_values = d.embedded(tokens), []
        for index, layer in enumerate(d.layers):
            q, k, v = d.turned(d.qkv(layer, x), cos, sin)
            x = d.rest(layer, x, self._attend(index, (q, k, v), lengths))
            keys_and_values.append((k, v))
        keys, values = (torch.stack(part).transpose(1, 2) for part in zip(*keys_and_values, strict=True))
        ends = torch.tensor(lengths, device=d.device).cumsum(0)
        logits = d.logits(x[ends - 1])
        results: list[Read] = [None] * len(prompts)  # type: ignore[list-item]
        for position, (i, n, end) in enumerate(zip(order, lengths, ends.tolist(), strict=True)):
            span = slice(end - n, end)
            results[i] = Read(keys[:, :, span], values[:, :, span], logits[position])
        return results

    def _attend(self, index: int, qkv: tuple[Tensor, Tensor, Tensor], lengths: Sequence[int]) -> Tensor:
        """[N, H E]: each prompt of the given lengths attends to what is shared and to itself."""
        shared, out, start = self.shared, [], 0
        for n, same in groupby(lengths):
            count = len(list(same))
            q, k, v = (
                part[start : start + count * n].unflatten(0, (count, n)).transpose(1, 2) for part in qkv
            )
            mask = None
            if shared:
                before = (
                    cache[index, :1, :, :shared].expand(count, -1, -1, -1)
                    for cache in (self.keys, self.values)
                )
                k, v = (torch.cat(pair, 2) for pair in zip(before, (k, v), strict=True))
                mask = torch.ones(n, shared + n, dtype=torch.bool, device=q.device).tril(shared)
            heads = self.decoder.heads != self.decoder.key_heads
            y = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=heads
            )
            out.append(y.transpose(1, 2).reshape(count * n, -1))
            start += count * n
        return torch.cat(out)

    def arrange(self, rows: Sequence[int | Read]) -> None:
        """Slot i becomes what slot rows[i] was, or begins at a prompt. No slot is asked for twice, and one
        that is moved goes to a slot before it.
        """
        lengths = []
        for slot, row in enumerate(rows):
            if isinstance(row, Read):
                start, end = self.shared, self.shared + row.keys.shape[2]
                self.keys[:, slot, :, start:end] = row.keys
                self.values[:, slot, :, start:end] = row.values
            else:
                end = self.lengths[row]
                if row != slot:
                    self.keys[:, slot, :, :end] = self.keys[:, row, :, :end]
                    self.values[:, slot, :, :end] = self.values[:, row, :, :end]
            lengths.append(end)
        self.lengths = lengths
        self.past[: len(rows)] = torch.tensor(lengths, device=self.past.device)

    def step(self, tokens: Tensor) -> Tensor:
        """Appends tokens [R]; the logits [R, V] of what follows."""
        d, rows = self.decoder, len(tokens)
        more = max(0, _LEAST_ROWS - rows)
        x = d.embedded(F.pad(tokens, (0, more)))
        attend = self._attention(rows)
        for index, layer in enumerate(d.layers):
            attended = attend(index, d.qkv(layer, x)[:rows])
            x = d.rest(layer, x, F.pad(attended, (0, 0, 0, more)) if more else attended)
        self.past[:rows] += 1
        self.lengths = [n + 1 for n in self.lengths]
        return d.logits(x)[:rows]

    def _attention(self, rows: int) -> Callable[[int, Tensor], Tensor]:
        """From a layer's number and [R, (H + 2 K) E] to [R, H E]. Every row is read as far as the longest,
        in whole vectors of the processor, and what it does not have is masked.
        """
        d, past = self.decoder, self.past[:rows]
        if max(self.lengths) >= self.keys.shape[3]:
            raise ValueError(f"a row of {max(self.lengths)} columns has no room for another")
        if d.kernels is not None:
            return self._by_kernel(d.kernels, past)
        columns = _even(max(self.lengths) + 1)
        cos, sin = self.cos[past][:, None], self.sin[past][:, None]
        which = torch.arange(rows, device=d.device)
        beyond = torch.arange(columns, device=d.device) > past[:, None]
        # Made here and added to scores: from truth values every layer would make it again.
        mask = torch.zeros(rows, columns, dtype=d.dtype, device=d.device).masked_fill_(beyond, float("-inf"))

        def attend(index: int, fused: Tensor) -> Tensor:
            keys, values = self.keys[index], self.values[index]
            q, k, v = d.turned(fused, cos, sin)
            keys[which, :, past], values[which, :, past] = k, v
            # The query heads that share a key head stand where a sequence would: [R, K, H / K, E].
            y = F.scaled_dot_product_attention(
                q.reshape(rows, d.key_heads, -1, d.width),
                keys[:rows, :, :columns],
                values[:rows, :, :columns],
                attn_mask=mask[:, None, None],
            )
            return y.reshape(rows, -1)

        return attend

    def _by_kernel(self, kernels: DecodeKernels, past: Tensor) -> Callable[[int, Tensor], Tensor]:
        """The same, each row as far as it goes."""
        turns, heads = (self.cos, self.sin), self.decoder.heads

        def attend(index: int, fused: Tensor) -> Tensor:
            return kernels.attend(fused, self.keys[index], self.values[index], turns, past, heads)

        return attend
