"""Rows of tokens, and what a model says of them, that wait on disk: memory does not grow with the data."""

from __future__ import annotations

import os
import tempfile
from array import array
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from posttrain.data.by_place import ByPlace
from posttrain.models.collate import Row

Item = TypeVar("Item")


class _OnDisk(ByPlace[Item]):
    """Items written once and read as they are needed. A subclass turns them into bytes and back.

    They are in a file without a name under ``directory``, which is gone when this is; eight bytes an item
    stay in memory. Raises OSError where the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  (as long as this object)
        self._ends = array("q", [0])

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _bytes(self, place: int) -> bytes:
        start, end = self._ends[place], self._ends[place + 1]
        self._file.flush()
        return os.pread(self._file.fileno(), end - start, start)


class RowsOnDisk(_OnDisk[Row]):
    """Rows without log-probabilities."""

    longest = 0  # tokens of a row

    def append(self, row: Row) -> None:
        """One more row; of it ``ids`` and ``mask`` are kept."""
        self._write(array("i", row.ids).tobytes() + bytes(row.mask))
        self.longest = max(self.longest, len(row.ids))

    def read(self, place: int) -> Row:
        data = self._bytes(place)
        ids = array("i")
        count = len(data) // (ids.itemsize + 1)
        ids.frombytes(data[: count * ids.itemsize])
        return Row(ids=ids.tolist(), mask=[bool(said) for said in data[count * ids.itemsize :]])


class LogprobsOnDisk(_OnDisk[Tensor]):
    """Of each row the log-probabilities of its chosen steps, [steps] float32."""

    def append(self, logprobs: Tensor) -> None:
        """One more row's."""
        self._write(logprobs.detach().float().cpu().numpy().tobytes())

    def read(self, place: int) -> Tensor:
        return torch.frombuffer(bytearray(self._bytes(place)), dtype=torch.float32)
