"""The reward losses in plain numbers, written from the papers and not from the package."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.reward_losses.outcome import Outcome
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


def plackett_luce(m: Any, rows: list[Row]) -> Tensor:
    """From the best down each is chosen among itself and those below; from the worst up, where unsure."""
    groups, losses = {row.said_in for row, _ in pairs(rows)}, []
    for group in groups:
        placed = [row for row in rows if row.said_in == group and row.rank >= 0]
        loss = m.center_coef * (2 * mean(sum(row.score) for row in placed)) ** 2
        for row in placed:
            own = sum(row.score)
            below = [own, *(sum(o.score) for o in placed if o.rank > row.rank)]
            above = [own, *(sum(o.score) for o in placed if o.rank < row.rank)]
            down = sum((x - own).exp() for x in below).log()  # type: ignore[union-attr]
            up = sum((x - own).exp() for x in above).log()  # type: ignore[union-attr]
            loss = loss + row.confidence * down + (1 - row.confidence) * up
        losses.append(loss)
    return mean(losses)  # type: ignore[no-any-return]


def outcome(m: Any, rows: list[Row]) -> Tensor:
    """Only rows of which somebody said how they ended."""
    terms = []
    for row in rows:
        label, total = float(row.label[-1]), sum(row.score)
        if row.rank >= 0 and label == label:
            terms.append(nll(total if label else -total))  # type: ignore[arg-type]
    return mean(terms)  # type: ignore[no-any-return]


def process(m: Any, rows: list[Row]) -> Tensor:
    terms = []
    for row in rows:
        for label, score in zip(row.label, row.score, strict=True):
            if float(label) == float(label):
                terms.append(float(label) * nll(score) + (1 - float(label)) * nll(-score))
    return mean(terms)  # type: ignore[no-any-return]


def ensemble(m: Any, rows: list[Row]) -> Tensor:
    """Two members: the scene's scores and, as the other, its values."""
    other = [replace(row, score=row.value) for row in rows]
    formula = outcome if isinstance(m.each, Outcome) else bradley_terry
    return (formula(m.each, rows) + formula(m.each, other)) / 2


CENTRE = [{"center_coef": value} for value in (-0.1, float("nan"), float("inf"))]

ENTRIES: dict[str, Entry] = {
    "bradley_terry": Entry(
        bradley_terry, settings=[{}, {"margin": True, "center_coef": 0.0}], refused=CENTRE
    ),
    "plackett_luce": Entry(plackett_luce, settings=[{}, {"center_coef": 0.3}], refused=CENTRE),
    "outcome": Entry(outcome),
    "process": Entry(process),
    "ensemble": Entry(
        ensemble, settings=[{}, {"each": BradleyTerry(margin=True, center_coef=0.2)}, {"each": Outcome()}]
    ),
}
