"""How far annotators agree: raw pairwise agreement and Krippendorff's alpha for nominal choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

# For each question, what every annotator who saw it chose.
Choices = Mapping[Hashable, Mapping[str, Hashable]]


@dataclass(frozen=True)
class Agreement:
    """`raw` is the share of pairs of annotators who chose alike, `alpha` the same corrected for chance.

    Both are NaN where no question was seen twice; alpha is NaN also where everybody always chose the same.
    """

    raw: float
    alpha: float
    questions: int


def agreement(choices: Choices) -> Agreement:
    """Agreement over the questions that two or more annotators saw.

    Krippendorff (2011), Computing Krippendorff's alpha-reliability: alpha = 1 - D_o / D_e with nominal
    distance; a question with m answers weighs its ordered pairs by 1 / (m - 1).
    """
    shared = [list(answers.values()) for answers in choices.values() if len(answers) > 1]
    if not shared:
        return Agreement(float("nan"), float("nan"), 0)
    alike = [one == two for answers in shared for one, two in combinations(answers, 2)]
    counts = Counter(value for answers in shared for value in answers)
    n = sum(counts.values())
    observed = sum(_unequal(Counter(answers)) / (len(answers) - 1) for answers in shared) / n
    expected = _unequal(counts) / (n * (n - 1))
    alpha = 1 - observed / expected if expected else float("nan")
    return Agreement(sum(alike) / len(alike), alpha, len(shared))


def _unequal(counts: Counter[Hashable]) -> int:
    """Ordered pairs of different values."""
    n = sum(counts.values())
    return n * n - sum(count * count for count in counts.values())


def choices_of(rows: Iterable[Mapping[str, Any]]) -> dict[Hashable, dict[str, Hashable]]:
    """The choices in labelled rows, by pair id and annotator, ties included."""
    choices: dict[Hashable, dict[str, Hashable]] = {}
    for row in rows:
        choices.setdefault(row["id"], {})[row["annotator"]] = row["choice"]
    return choices
