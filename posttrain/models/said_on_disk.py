"""Comparisons and ratings as tokens, which wait on disk."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path

from posttrain.data.by_place import ByPlace, Made
from posttrain.models.collate import Row
from posttrain.models.rows_on_disk import RowsOnDisk


@dataclass(frozen=True, kw_only=True)
class Said:
    """Answers to one prompt and their ranks, 0 wanted, -1 measured only; or one answer alone, of rank 0 or
    1.
    """

    rows: list[Row]
    ranks: list[int]
    sure: float = 1.0
    margin: float = 0.0  # how much better the wanted one is, as its annotators rated both


class SaidOnDisk(ByPlace[Said]):
    """What was said, in the order in which it was appended; ``rows`` are its rows one after another.

    Files as those of RowsOnDisk, under ``directory``. Of a pair 42 bytes stay in memory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.rows = directory, RowsOnDisk(directory)
        self._ends, self._ranks = array("q", [0]), array("b")
        self._sure, self._margin = array("d"), array("d")

    def append(self, said: Said) -> None:
        """One more. Raises ValueError where it has not as many ranks as rows."""
        for row, rank in zip(said.rows, said.ranks, strict=True):
            self.rows.append(row)
            self._ranks.append(rank)
        self._ends.append(len(self.rows))
        self._sure.append(said.sure)
        self._margin.append(said.margin)

    def __len__(self) -> int:
        return len(self._sure)

    def places(self, place: int) -> range:
        """Where in ``rows`` those at a place stand."""
        return range(self._ends[place], self._ends[place + 1])

    def read(self, place: int) -> Said:
        of = self.places(place)
        return Said(
            rows=[self.rows[at] for at in of],
            ranks=self._ranks[of.start : of.stop].tolist(),
            sure=self._sure[place],
            margin=self._margin[place],
        )

    @property
    def grouped(self) -> ByPlace[Row]:
        """``rows``, each in the group of those that it was compared with."""
        return Made(len(self.rows), lambda at: replace(self.rows[at], group=bisect_right(self._ends, at) - 1))
