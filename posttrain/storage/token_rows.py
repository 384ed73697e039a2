"""Conversations as tokens, in memory and on disk."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from posttrain.storage.scratch import ScratchSequence


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """One conversation as tokens.

    ``mask`` is True where the assistant said the token. ``logprobs`` holds one number for each True in
    ``mask``, of the sampler at ``temperature``. ``reward`` is paid at the last assistant token.
    """

    ids: Sequence[int]  # [L]
    mask: Sequence[bool]  # [L]
    logprobs: Sequence[float] | None = None  # [number of True in mask]
    reward: float = 0.0
    truncated: bool = False
    group: int = -1  # -1: a group of its own
    temperature: float = 1.0
    version: int = -1
    parts: dict[str, float] = field(default_factory=dict)


Packed = list[list[int]]  # ids; where what is learned begins and ends, by turns


def packed(row: TokenRow) -> Packed:
    """The ``ids`` and ``mask`` of a row as short JSON."""
    mask = [False, *row.mask, False]
    return [list(row.ids), [at for at in range(len(mask) - 1) if mask[at] != mask[at + 1]]]


def unpacked(stored: Packed) -> TokenRow:
    """The row of ``packed``."""
    ids, turns = stored
    mask = [False] * len(ids)
    for begin, end in zip(turns[::2], turns[1::2], strict=True):
        mask[begin:end] = [True] * (end - begin)
    return TokenRow(ids=ids, mask=mask)


class TokenRowStore(ScratchSequence[TokenRow]):
    """Token rows on disk, their ``ids`` and ``mask`` alone."""

    longest = 0  # tokens of a row

    def append(self, row: TokenRow) -> None:
        """One more row; of it ``ids`` and ``mask`` are kept."""
        self._append(array("i", row.ids).tobytes() + bytes(row.mask))
        self.longest = max(self.longest, len(row.ids))

    def read(self, index: int) -> TokenRow:
        data = self._bytes(index)
        ids = array("i")
        count = len(data) // (ids.itemsize + 1)
        ids.frombytes(data[: count * ids.itemsize])
        return TokenRow(ids=ids.tolist(), mask=[bool(byte) for byte in data[count * ids.itemsize :]])
