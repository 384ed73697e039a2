"""Rows of a user's file (JSON lines, a JSON array, CSV, Parquet, also compressed) or of a data set
on the hub.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from posttrain.pipeline.files import check_regular, expanded, parsed
from posttrain.pipeline.finding import UserError

Row = dict[str, Any]
JsonRow = Mapping[str, Any]  # one that is only read

LONGEST_LINE = 64_000_000  # bytes; a longer line is a file of another kind, or a lost newline
EXPANDS = 200  # times its size, to which a compressed file of more than ``SMALL`` bytes may grow
SMALL = 64_000_000
MOST_ROWS = 50_000_000  # of a Parquet file, whose few bytes may stand for any number
SHOWN = 10  # problems that are told one by one


class Problems:
    """What is wrong with a file's rows, told together: the first ten and how many there are."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[str] = []
        self.rows: set[str] = set()

    def add(self, where: str, what: str) -> None:
        self.found.append(f"{self.source}: {where}: {what}")
        self.rows.add(where)

    def shown_lines(self) -> list[str]:
        more = len(self.found) - SHOWN
        tail = [f"... and {more} more, {len(self.found)} in all"] if more > 0 else []
        return [*self.found[:SHOWN], *tail]

    def stop_if_any(self, hint: str = "") -> None:
        if self.found:
            raise UserError("\n  ".join([*self.shown_lines(), *([hint] if hint else [])]))


def numbered_rows(source: str, revision: str | None, problems: Problems) -> list[tuple[int, Row]]:
    """Rows with their place in the file, from 1; rows that are none are noted in ``problems`` and left out.

    Raises UserError where the file as a whole cannot be read, or has no rows.
    """
    path = expanded(source)
    try:
        is_file = path.exists()
        rows = _from_file(path, source, problems) if is_file else list(_from_hub(source, revision))
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror or error})") from None
    if not rows:
        raise UserError(f"{source}: 0 rows; needs at least 1")
    return [(number, row) for number, row in enumerate(rows, start=1) if row is not None]


def _from_file(path: Path, source: str, problems: Problems) -> list[Row | None]:
    if path.is_dir():
        raise UserError(f"{source}: a directory; name one file of rows")
    check_regular(path, source)
    with path.open("rb") as stream:
        start = stream.read(4)
    if start == b"PAR1":
        return list(_parquet(path))
    data = _unpacked(path) if start[:2] == b"\x1f\x8b" else path.read_bytes()
    return _parsed(data.removeprefix(b"\xef\xbb\xbf"), source, problems)


def _parsed(data: bytes, source: str, problems: Problems) -> list[Row | None]:
    """The rows in the order of the file, None for one that is noted in ``problems``."""
    if Path(source.removesuffix(".gz")).suffix.lower() in (".csv", ".tsv"):
        return _csv(_text(data, source), source, problems)
    if data.lstrip()[:1] == b"[":
        return _array(_text(data, source), source, problems)
    return list(_lines(data, problems))


def _unpacked(path: Path) -> bytes:
    limit = max(SMALL, EXPANDS * path.stat().st_size)
    made = bytearray()
    try:
        with gzip.open(path) as stream:
            while part := stream.read(1 << 20):
                made += part
                if len(made) > limit:
                    raise UserError(
                        f"{path}: gzip that grows to more than {EXPANDS} times its size; if it is right, "
                        "unpack it yourself and name that file"
                    )
        return bytes(made)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: gzip that cannot be unpacked ({error}); it may be cut short, copy it again"
        ) from None


def _text(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{source}: line {line}, byte {error.start}: not UTF-8; convert it, `iconv -f LATIN1 -t UTF-8`"
        ) from None


def _lines(data: bytes, problems: Problems) -> Iterator[Row | None]:
    lines = data.split(b"\n")
    offset = 0
    for number, line in enumerate(lines, start=1):
        where, at, offset = f"line {number}", offset, offset + len(line) + 1
        line = line.strip(b"\r\t ")
        if not line:
            continue
        row = None
        if len(line) > LONGEST_LINE:
            problems.add(where, f"{len(line) / 1e6:.0f} MB long, the limit is {LONGEST_LINE / 1e6:.0f} MB")
        elif b"\0" in line:
            position = at + line.index(b"\0")
            problems.add(where, f"a NUL byte at byte {position}; the file is damaged or not text")
        else:
            try:
                row = _object(line.decode("utf-8"), where, problems, cut=number == len(lines))
            except UnicodeDecodeError as error:
                problems.add(where, f"not UTF-8 at byte {at + error.start} of the file")
        yield row


def _object(text: str, where: str, problems: Problems, cut: bool) -> Row | None:
    """One JSON object, or None and a note of what is wrong."""
    try:
        value = parsed(text, _no_number)
    except json.JSONDecodeError as error:
        hint = "; the last line is cut short" if cut else ""
        problems.add(where, f"not JSON at column {error.colno} ({error.msg}){hint}")
    except ValueError as error:
        problems.add(where, str(error))
    else:
        if isinstance(value, dict):
            return value
        problems.add(where, f'expected an object such as {{"prompt": ...}}, found {type(value).__name__}')
    return None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON; write null, or leave the field out")


def _array(text: str, source: str, problems: Problems) -> list[Row | None]:
    try:
        rows = parsed(text, _no_number)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{source}: line {error.lineno}, column {error.colno}: not JSON ({error.msg})"
        ) from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            problems.add(f"row {number}", f"expected an object, found {type(row).__name__}")
    return [row if isinstance(row, dict) else None for row in rows]


def _csv(text: str, source: str, problems: Problems) -> list[Row | None]:
    csv.field_size_limit(LONGEST_LINE)
    tabs = Path(source.removesuffix(".gz")).suffix.lower() == ".tsv"
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",")
    rows: list[Row | None] = []
    try:
        for number, row in enumerate(reader, start=1):
            whole = None not in row and None not in row.values()
            if not whole:
                columns = len(reader.fieldnames or [])
                problems.add(f"row {number}", f"another number of cells than the {columns} columns")
            rows.append(dict(row) if whole else None)
    except csv.Error as error:
        raise UserError(f"{source}: line {reader.line_num}: not CSV ({error})") from None
    return rows


def _parquet(path: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet needs pyarrow; `pip install 'posttrain[parquet]'`"
        ) from None
    try:
        count = parquet.ParquetFile(path).metadata.num_rows
        if count > MOST_ROWS:
            raise UserError(f"{path}: {count:,} rows, the limit is {MOST_ROWS:,}; name a part of it")
        return list(parquet.read_table(path).to_pylist())
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: not whole Parquet ({reason})") from None


def _from_hub(source: str, revision: str | None) -> list[Row]:
    name, _, part = source.partition(":")
    if Path(source).suffix or name.count("/") > 1 or name.startswith(("/", ".")):
        raise UserError(f"{source}: no such file")
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserError(
            f"{source}: no such file; a data set of that name on the hub needs `pip install 'posttrain[hub]'`"
        ) from None
    try:
        return [dict(row) for row in load_dataset(name, split=part or "train", revision=revision)]
    except (OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise UserError(f"{source}: no such file, and not readable from the hub ({first})") from None


def family(prompt: Mapping[str, Any]) -> str:
    """The kind of task that a prompt of the embedded world is; empty for another."""
    return str((prompt.get("item") or {}).get("family", ""))
