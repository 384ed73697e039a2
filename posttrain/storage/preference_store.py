"""Comparisons and ratings as tokens, on disk."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path

from posttrain.storage.lazy import LazySequence, Mapped
from posttrain.storage.token_rows import TokenRow, TokenRowStore


@dataclass(frozen=True, kw_only=True)
class PreferenceRow:
    """Answers to one prompt and their ranks, 0 wanted, -1 measured only. A single answer has rank 0 or 1."""

    rows: list[TokenRow]
    ranks: list[int]
    confidence: float = 1.0
    margin: float = 0.0  # how much better the wanted one is, as its annotators rated both


class PreferenceStore(LazySequence[PreferenceRow]):
    """Preferences in the order in which they were appended; ``rows`` are their answers one after another.

    Files as those of TokenRowStore, under ``directory``. Of a pair 42 bytes stay in memory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.rows = directory, TokenRowStore(directory)
        self._ends, self._ranks = array("q", [0]), array("b")
        self._confidences, self._margins = array("d"), array("d")

    def append(self, preference: PreferenceRow) -> None:
        """One more. Raises ValueError where it has not as many ranks as rows."""
        for row, rank in zip(preference.rows, preference.ranks, strict=True):
            self.rows.append(row)
            self._ranks.append(rank)
        self._ends.append(len(self.rows))
        self._confidences.append(preference.confidence)
        self._margins.append(preference.margin)

    def __len__(self) -> int:
        return len(self._confidences)

    def row_range(self, index: int) -> range:
        """Which of ``rows`` are the answers of a preference."""
        return range(self._ends[index], self._ends[index + 1])

    def read(self, index: int) -> PreferenceRow:
        answers = self.row_range(index)
        return PreferenceRow(
            rows=[self.rows[i] for i in answers],
            ranks=self._ranks[answers.start : answers.stop].tolist(),
            confidence=self._confidences[index],
            margin=self._margins[index],
        )

    @property
    def grouped(self) -> LazySequence[TokenRow]:
        """``rows``, each in the group of those that it was compared with."""
        return Mapped(len(self.rows), lambda i: replace(self.rows[i], group=bisect_right(self._ends, i) - 1))
