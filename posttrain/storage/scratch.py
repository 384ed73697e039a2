"""Bytes that wait on disk while a stage works: memory does not grow with the data."""

from __future__ import annotations

import os
import tempfile
from array import array
from pathlib import Path
from typing import TypeVar

from posttrain.storage.lazy import LazySequence

Item = TypeVar("Item")


class ScratchSequence(LazySequence[Item]):
    """Items written once and read as they are needed. A subclass turns them into bytes and back.

    They are in a file without a name under ``directory``, which is gone when this is; eight bytes an item
    stay in memory. Raises OSError where the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  (as long as this object)
        self._ends = array("q", [0])

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _bytes(self, index: int) -> bytes:
        start, end = self._ends[index], self._ends[index + 1]
        self._file.flush()
        return os.pread(self._file.fileno(), end - start, start)
