"""The direct alignments in plain numbers, written from the papers and not from the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from tests.contract.by_hand import (
    Entry,
    Row,
    against_reference,
    fixed,
    mean,
    nll,
    pairs,
    sigmoid,
    sure,
    token_mean,
)


def sft(m: Any, rows: list[Row]) -> Tensor:
    return -token_mean([row.now for row in rows])


def over_pairs(rows: list[Row], loss: Callable[[Row, Row], Tensor]) -> Tensor:
    """The mean over pairs of the loss of the label and of its opposite, as sure as the label is."""
    return mean(  # type: ignore[no-any-return]
        sure((a, b)) * loss(a, b) + (1 - sure((a, b))) * loss(b, a) for a, b in pairs(rows)
    )


def margin(m: Any, won: Row, lost: Row) -> Tensor:
    """DPO's difference of implicit rewards, with the three ways in which length may enter."""
    common = min(len(won), len(lost))

    def h(row: Row) -> Tensor:
        steps = [a - b for a, b in zip(row.now, row.ref, strict=True)]
        total = sum(steps[:common]) + m.ld_alpha * sum(steps[common:])
        return total / len(row) if m.length_normalised else total  # type: ignore[return-value]

    return m.beta * (h(won) - h(lost)) + m.length_penalty * (len(won) - len(lost))  # type: ignore[no-any-return]


def dpo(m: Any, rows: list[Row]) -> Tensor:
    return over_pairs(rows, lambda a, b: nll(margin(m, a, b)))


def c_dpo(m: Any, rows: list[Row]) -> Tensor:
    e = m.label_smoothing
    return over_pairs(rows, lambda a, b: (1 - e) * nll(margin(m, a, b)) + e * nll(-margin(m, a, b)))


def robust_dpo(m: Any, rows: list[Row]) -> Tensor:
    e = m.flipped
    return over_pairs(
        rows, lambda a, b: ((1 - e) * nll(margin(m, a, b)) - e * nll(-margin(m, a, b))) / (1 - 2 * e)
    )


def ipo(m: Any, rows: list[Row]) -> Tensor:
    def h(row: Row) -> Tensor:
        return against_reference(row) / (len(row) if m.length_normalised else 1)

    return over_pairs(rows, lambda a, b: (h(a) - h(b) - 1 / (2 * m.beta)) ** 2)


def said(row: Row) -> Tensor:
    return sum(row.now[1:], row.now[0])


def slic(m: Any, rows: list[Row]) -> Tensor:
    hinge = over_pairs(rows, lambda a, b: (m.margin - said(a) + said(b)).clamp(min=0))
    return hinge + m.nll_coef * mean(-said(a) for a, _ in pairs(rows))  # type: ignore[no-any-return]


def simpo(m: Any, rows: list[Row]) -> Tensor:
    return over_pairs(rows, lambda a, b: nll(m.beta * (mean(a.now) - mean(b.now)) - m.gamma))


def orpo(m: Any, rows: list[Row]) -> Tensor:
    def odds(row: Row) -> Tensor:
        p = mean(row.now).exp()
        return (p / (1 - p)).log()

    ratio = over_pairs(rows, lambda a, b: nll(odds(a) - odds(b)))
    return m.beta * ratio + mean(-mean(a.now) for a, _ in pairs(rows))  # type: ignore[no-any-return]


def cpo(m: Any, rows: list[Row]) -> Tensor:
    preference = over_pairs(rows, lambda a, b: nll(m.beta * (said(a) - said(b))))
    return preference + m.nll_coef * mean(-mean(a.now) for a, _ in pairs(rows))  # type: ignore[no-any-return]


def kto(m: Any, rows: list[Row]) -> Tensor:
    other = fixed(against_reference(row) for row in rows if row.rank < 0)
    z, terms = max(0.0, sum(other) / len(other) if other else 0.0), []
    for row in rows:
        if row.rank < 0:
            continue
        h = m.beta * (against_reference(row) - z)
        good, bad = m.desirable * (1 - sigmoid(h)), m.undesirable * (1 - sigmoid(-h))
        if row.rank > 0:
            good, bad = bad, good
        terms.append(row.confidence * good + (1 - row.confidence) * bad)
    return mean(terms)  # type: ignore[no-any-return]


def apo_zero(m: Any, rows: list[Row]) -> Tensor:
    def h(row: Row) -> Tensor:
        return m.beta * against_reference(row)  # type: ignore[no-any-return]

    return over_pairs(rows, lambda a, b: 1 - sigmoid(h(a)) + sigmoid(h(b)))


def apo_down(m: Any, rows: list[Row]) -> Tensor:
    def h(row: Row) -> Tensor:
        return m.beta * against_reference(row)  # type: ignore[no-any-return]

    return over_pairs(rows, lambda a, b: sigmoid(h(a)) + 1 - sigmoid(h(a) - h(b)))


NAN = float("nan")
LENGTH = [
    *({"length_penalty": value} for value in (-0.1, NAN, float("inf"))),
    *({"ld_alpha": value} for value in (-0.1, 1.1, NAN)),
]
RATE = (-0.1, 0.5, 0.7, NAN)
WEIGHT = (-0.1, NAN, float("inf"))
ABOVE = (0.0, -1.0, NAN, float("inf"))
DPO_SETTINGS = [
    {},
    {"beta": 0.7, "length_penalty": 0.2},
    {"beta": 1.3, "ld_alpha": 0.4},
    {"length_normalised": True, "ld_alpha": 0.0},
]

ENTRIES: dict[str, Entry] = {
    "sft": Entry(sft),
    "dpo": Entry(dpo, settings=DPO_SETTINGS, refused=LENGTH),
    "c_dpo": Entry(
        c_dpo,
        settings=[{}, {"label_smoothing": 0.3, "beta": 0.8}],
        refused=[*LENGTH, *({"label_smoothing": value} for value in RATE)],
    ),
    "robust_dpo": Entry(
        robust_dpo,
        settings=[{}, {"flipped": 0.3, "beta": 0.8}],
        refused=[*LENGTH, *({"flipped": value} for value in RATE)],
    ),
    "ipo": Entry(ipo, settings=[{}, {"beta": 0.6, "length_normalised": True}]),
    "slic": Entry(
        slic,
        settings=[{}, {"margin": 4.0, "nll_coef": 0.5}],
        refused=[*({"margin": value} for value in ABOVE), *({"nll_coef": value} for value in WEIGHT)],
    ),
    "simpo": Entry(
        simpo,
        settings=[{}, {"beta": 0.6, "gamma": 0.0}],
        refused=[{"gamma": value} for value in WEIGHT],
    ),
    "orpo": Entry(orpo, settings=[{}, {"beta": 0.8}]),
    "cpo": Entry(
        cpo,
        settings=[{}, {"beta": 0.8, "nll_coef": 0.2}],
        refused=[{"nll_coef": value} for value in WEIGHT],
    ),
    "kto": Entry(
        kto,
        settings=[{}, {"beta": 0.9, "desirable": 1.3, "undesirable": 0.7}],
        refused=[{name: value} for name in ("desirable", "undesirable") for value in ABOVE],
    ),
    "apo_zero": Entry(apo_zero, settings=[{}, {"beta": 0.9}]),
    "apo_down": Entry(apo_down, settings=[{}, {"beta": 0.9}]),
}
