"""The direct alignments in plain numbers, written from the papers and not from the package."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tests.contract.by_hand import Entry, Row, token_mean


def sft(m: Any, rows: list[Row]) -> Tensor:
    return -token_mean([row.now for row in rows])


ENTRIES: dict[str, Entry] = {
    "sft": Entry(sft),
}
