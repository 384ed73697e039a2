"""Rows of tokens that wait on disk, so that memory does not grow with the data."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from posttrain.models.collate import Row


class RowsOnDisk(Sequence[Row]):
    """Rows without log-probabilities, written once and read as they are needed.

    They are in a file without a name under ``directory``, which is gone when this is; eight bytes a row stay
    in memory. Raises OSError where the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  (as long as this object)
        self._ends = array("q", [0])

    def append(self, row: Row) -> None:
        """One more row; of it ``ids`` and ``mask`` are kept."""
        data = array("i", row.ids).tobytes() + bytes(row.mask)
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        at = range(len(self))[place]
        start, end = self._ends[at], self._ends[at + 1]
        self._file.flush()
        data = os.pread(self._file.fileno(), end - start, start)
        ids = array("i")
        count = (end - start) // (ids.itemsize + 1)
        ids.frombytes(data[: count * ids.itemsize])
        return Row(ids=ids.tolist(), mask=[bool(said) for said in data[count * ids.itemsize :]])
