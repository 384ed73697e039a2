"""Rows come out of a file as they went in, however they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.storage.jsonl import RowsInFile, read_jsonl, stream_jsonl, write_jsonl

ROWS = [{"text": "one\u2028line"}, {"text": "\u0085 \r here"}, {}, {"text": "Grüße"}]


def test_a_stream_has_the_rows_of_the_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", ROWS)
    assert list(stream_jsonl(tmp_path / "rows.jsonl")) == read_jsonl(tmp_path / "rows.jsonl") == ROWS
    assert list(stream_jsonl(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_row_is_found_at_its_index(tmp_path: Path, end: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ROWS)
    path.write_bytes(b"\n" + path.read_bytes().removesuffix(b"\n") + end.encode())
    rows = RowsInFile(path)
    assert list(rows) == rows[:] == read_jsonl(path) == ROWS
    assert [rows[at] for at in (3, 0, -1, 2, 1)] == [ROWS[at] for at in (3, 0, -1, 2, 1)]
    walk = iter(rows)
    assert [next(walk), rows[2], next(walk)] == [ROWS[0], ROWS[2], ROWS[1]]
    with pytest.raises(IndexError):
        rows[4]


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    rows = RowsInFile(tmp_path / "none.jsonl")
    assert not rows
    assert list(rows) == []
