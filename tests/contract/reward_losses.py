"""The reward losses in plain numbers, written from the papers and not from the package."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tests.contract.by_hand import Entry, Row, mean, nll, pairs, sure


def bradley_terry(m: Any, rows: list[Row]) -> Tensor:
    terms = []
    for won, lost in pairs(rows):
        gap = sum(won.score) - sum(lost.score) - (won.margin - lost.margin if m.margin else 0)
        right = sure((won, lost))
        terms.append(
            right * nll(gap)
            + (1 - right) * nll(-gap)
            + m.center_coef * (sum(won.score) + sum(lost.score)) ** 2
        )
    return mean(terms)  # type: ignore[no-any-return]


ENTRIES: dict[str, Entry] = {
    "bradley_terry": Entry(bradley_terry, settings=[{}, {"margin": True, "center_coef": 0.0}]),
}
