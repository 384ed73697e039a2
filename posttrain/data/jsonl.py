"""Records that stages exchange: JSON lines in UTF-8, one object a line, written by this package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes the rows and returns how many there were. Raises ValueError for a number that JSON cannot
    hold.
    """
    count = 0
    with Lines(path) as lines:
        for row in rows:
            lines.write(row)
            count += 1
    return count


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that ``write_jsonl`` wrote; none where there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


class Lines:
    """A file of JSON lines that grows while a stage works, so that a curve can be watched."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def write(self, row: Mapping[str, Any]) -> None:
        """One more row."""
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._file.close()
