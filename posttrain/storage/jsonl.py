"""Records that stages exchange: JSON lines in UTF-8, one object a line, written by this package."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from posttrain.storage.lazy import LazySequence


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes the rows; how many there were. Raises ValueError for a number that JSON cannot hold."""
    count = 0
    with JsonlWriter(path) as writer:
        for row in rows:
            writer.write(row)
            count += 1
    return count


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that ``write_jsonl`` wrote; none where there is no such file."""
    return list(stream_jsonl(path))


def stream_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The same, one after another: only one row is in memory at a time."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="\n") as lines:
            yield from (json.loads(line) for line in lines if line != "\n")


class RowsInFile(LazySequence[dict[str, Any]]):
    """The same, each row read when it is asked for; eight bytes a row stay in memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._starts = path, array("q")
        if not path.is_file():
            return
        self._file = path.open("rb")  # as long as this object
        end = 0
        for line in self._file:
            if line != b"\n":
                self._starts.append(end)
            end += len(line)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return stream_jsonl(self._path)

    def read(self, index: int) -> dict[str, Any]:
        self._file.seek(self._starts[index])
        row: dict[str, Any] = json.loads(self._file.readline())
        return row


class JsonlWriter:
    """A file of JSON lines that grows while a stage works, so that a curve can be watched."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def write(self, row: Mapping[str, Any]) -> None:
        """One more row."""
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> JsonlWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._file.close()
