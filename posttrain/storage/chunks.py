"""Work in numbered chunks, each a pure function of its number, kept as it is done: a stage that was killed
goes on at the next chunk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from posttrain.storage.unfinished import Log, Scratch

ROWS = 2048  # of a chunk of ``row_by_row``
Row = TypeVar("Row")
Value = TypeVar("Value")


def ranges(count: int, size: int) -> list[range]:
    """``range(count)`` in pieces of ``size``, the last one shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


@dataclass(frozen=True)
class Chunks:
    """Where a piece of a stage's work is kept: under a ``name`` that is unique in the stage. Without a
    scratch directory nothing is kept.
    """

    scratch: Scratch | None = None
    name: str = "work"


NOT_KEPT = Chunks()


def in_chunks(chunks: Chunks, pieces: Sequence[range], make: Callable[[range], Value]) -> Iterator[Value]:
    """``make`` of each piece, in order; where there is a scratch directory, each value is kept in it when it
    is made and read from it by the next start.

    The value of a piece must be a function of the piece alone and of the stage's inputs, and JSON must give
    it back unchanged. Where the disk is full the user is told once; the work goes on without being kept.
    ``pieces`` are the rows that each chunk is about.

    Raises:
        ValueError: the name is used twice.
    """
    scratch = chunks.scratch
    if scratch is None:
        yield from map(make, pieces)
        return
    path = scratch.file(f"{chunks.name.replace('/', '-')}.chunks")
    head = [scratch.identity, [[piece.start, piece.stop] for piece in pieces]]
    done, end = -1, 0  # the first line is no chunk
    for value, size in _kept(path, [head, *([None] * len(pieces))], scratch):
        done, end = done + 1, size
        if done:
            yield value
    done = max(done, 0)
    if done:
        scratch.went_on(f"chunk {done} of {len(pieces)} of {chunks.name}")
    with Log(path) as log:
        log.cut(end)
        lines: list[str] | None = [] if end else [_line(head)]
        for piece in pieces[done:]:
            made = make(piece)
            if lines is not None:
                lines = _keep(scratch, log, [*lines, _line(made)])
            yield made


def row_by_row(
    chunks: Chunks, count: int, rows: Iterable[Row], make: Callable[[Row], Value]
) -> Iterator[Value]:
    """``make`` of each of at most ``count`` rows, ``ROWS`` of them a chunk."""
    numbered = enumerate(rows)

    def chunk(piece: range) -> list[Value]:
        made = []
        for number, row in numbered:
            if number >= piece.start:  # those before are kept
                made.append(make(row))
            if number == piece.stop - 1:
                break
        return made

    for some in in_chunks(chunks, ranges(count, ROWS), chunk):
        yield from some


def _keep(scratch: Scratch, log: Log, lines: list[str]) -> list[str] | None:
    """Writes the lines; None where that failed."""
    try:
        log.write(lines)
        log.flush()
    except OSError as error:
        scratch.say(f"{log.path}: {error.strerror}; the work goes on, and a killed run would repeat it")
        return None
    scratch.saved()
    return []


def _line(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}"


def _kept(path: Path, expected: Sequence[Any], scratch: Scratch) -> Iterator[tuple[Any, int]]:
    """What the file's lines hold, each with where it ends, as long as they are as they were written."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        for number, wanted in enumerate(expected):
            line = file.readline()
            if not line:
                return
            digest, _, text = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or hashlib.sha256(text).hexdigest().encode() != digest:
                return scratch.say(f"{path}: line {number + 1} is damaged; it and what follows is made again")
            value = json.loads(text)
            if wanted is not None and value != wanted:
                return scratch.say(f"{path}: made of other inputs; it is not used")
            yield value, file.tell()
        if file.read(1):
            scratch.say(f"{path}: has more lines than the work has chunks; they are not used")
