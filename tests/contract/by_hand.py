"""What the independent formulas read: rows as lists of numbers, chosen steps only. No tensor of two axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.contract.scene import GROUPS, MASKS, RANKS, SAID_IN, Table


@dataclass
class Row:
    """One row; every list has an entry for each chosen step."""

    now: list[Tensor]
    before: list[Tensor]
    ref: list[Tensor]
    sampler: list[Tensor]
    reward: list[Tensor]
    value: list[Tensor]
    old_value: list[Tensor]
    entropy: list[Tensor]
    kl: list[Tensor]
    old_kl: list[Tensor]
    score: list[Tensor]
    label: list[Tensor]
    turn: list[int]
    truncated: bool
    bootstrap: Tensor
    greedy: Tensor
    group: int
    said_in: int
    rank: int
    confidence: Tensor
    margin: Tensor

    def __len__(self) -> int:
        return len(self.now)


def rows(table: Table) -> list[Row]:
    """The scene's rows in order."""
    names = {
        "now": table.logprobs,
        "before": table.before,
        "ref": table.reference,
        "sampler": table.sampler,
        "reward": table.rewards,
        "value": table.values,
        "old_value": table.old_values,
        "entropy": table.entropy,
        "kl": table.kl,
        "old_kl": table.old_kl,
        "score": table.scores,
        "label": table.labels,
    }
    made = []
    for index, mask in enumerate(MASKS):
        used = [t for t, cell in enumerate(mask) if cell == "1"]
        made.append(
            Row(
                **{name: [values[index, t] for t in used] for name, values in names.items()},
                turn=[int(table.turn[index, t]) for t in used],
                truncated=bool(table.truncated[index]),
                bootstrap=table.bootstrap[index],
                greedy=table.greedy[index],
                group=GROUPS[index],
                said_in=SAID_IN[index],
                rank=RANKS[index],
                confidence=table.confidence[index],
                margin=table.margin[index],
            )
        )
    return made


@dataclass(frozen=True)
class Entry:
    """How a method is tested: its formula written once more, and settings under which the two are compared.

    ``refused`` are settings without meaning beyond those every field of that name refuses. ``grouped``
    methods compare the rows of a prompt and refuse a group of one. ``base`` are settings without a default.
    """

    formula: Callable[[Any, list[Row]], Tensor]
    settings: Sequence[dict[str, Any]] = ({},)
    refused: Sequence[dict[str, Any]] = ()
    grouped: bool = False
    base: dict[str, Any] = field(default_factory=dict)
    unsteady: tuple[str, ...] = ()  # metrics in which equals are told apart by their order
    others_count: bool = False  # a statistic of the batch's other rows, which a copy of the batch moves


def mean(values: Iterable[Any]) -> Any:
    items = list(values)
    return sum(items[1:], items[0]) / len(items)


def spread(values: Sequence[Any], less: int = 0) -> Any:
    """The standard deviation, divided by n - less."""
    middle = mean(values)
    return (sum((v - middle) ** 2 for v in values) / (len(values) - less)) ** 0.5


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def softplus(x: Tensor) -> Tensor:
    """-log sigmoid(-x), by its series of two cases."""
    return x + (-x).exp().log1p() if x > 0 else x.exp().log1p()


def nll(x: Tensor) -> Tensor:
    """-log sigmoid(x)."""
    return softplus(-x)


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """A number outside is a constant, so it has no gradient."""
    if x < low:
        return torch.tensor(low, dtype=x.dtype)
    return torch.tensor(high, dtype=x.dtype) if x > high else x


def smaller(a: Tensor, b: Tensor) -> Tensor:
    return a if a <= b else b


def larger(a: Tensor, b: Tensor) -> Tensor:
    return a if a >= b else b


def fixed(values: Iterable[Any]) -> list[float]:
    """Numbers without a gradient."""
    return [float(v.detach()) if isinstance(v, Tensor) else float(v) for v in values]


def token_mean(per_row: Sequence[Sequence[Tensor]]) -> Tensor:
    return mean(v for row in per_row for v in row)  # type: ignore[no-any-return]


def sequence_mean(per_row: Sequence[Sequence[Tensor]]) -> Tensor:
    return mean(mean(row) for row in per_row)  # type: ignore[no-any-return]


def row_total(per_row: Sequence[Sequence[Tensor]]) -> Tensor:
    return mean(sum(row[1:], row[0]) for row in per_row)  # type: ignore[no-any-return]


def to_go(values: Sequence[float], gamma: float = 1.0) -> list[float]:
    """What is still to come at each step."""
    return [
        math.fsum(gamma ** (u - t) * values[u] for u in range(t, len(values))) for t in range(len(values))
    ]


def pairs(all_rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Who beat whom."""
    return [
        (a, b)
        for a in all_rows
        for b in all_rows
        if a.said_in == b.said_in and 0 <= a.rank < b.rank and b.rank >= 0
    ]


def sure(pair: tuple[Row, Row]) -> Tensor:
    return smaller(pair[0].confidence, pair[1].confidence)


def against_reference(row: Row) -> Tensor:
    """log pi(y) - log pi_ref(y)."""
    return sum(a - b for a, b in zip(row.now, row.ref, strict=True))  # type: ignore[return-value]
