"""Rows on disk are the rows that were put there, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.data.jsonl import read_jsonl, stream_jsonl, write_jsonl
from posttrain.models.collate import Row
from posttrain.models.rows_on_disk import RowsOnDisk

ROWS = [
    Row(ids=[1, 2, 3], mask=[False, True, True]),
    Row(ids=[70_000, 2**31 - 1], mask=[False, True]),
    Row(ids=[5], mask=[False]),
]


def test_what_went_in_comes_out_in_any_order(tmp_path: Path) -> None:
    kept = RowsOnDisk(tmp_path)
    assert not kept
    for row in ROWS:
        kept.append(row)
    assert list(kept) == ROWS
    assert [kept[i] for i in (2, 0, -1, 1)] == [ROWS[i] for i in (2, 0, 2, 1)]
    assert kept[1:] == ROWS[1:]
    kept.append(ROWS[0])  # after reading
    assert kept[3] == ROWS[0]
    with pytest.raises(IndexError):
        kept[4]


def test_no_file_is_seen_beside_a_product(tmp_path: Path) -> None:
    kept = RowsOnDisk(tmp_path)
    kept.append(ROWS[0])
    assert kept[0] == ROWS[0]
    assert list(tmp_path.iterdir()) == []


def test_a_stream_has_the_rows_of_the_file(tmp_path: Path) -> None:
    rows = [{"text": "one\u2028line"}, {"text": "\u0085 \r here"}, {}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert list(stream_jsonl(tmp_path / "rows.jsonl")) == read_jsonl(tmp_path / "rows.jsonl") == rows
    assert list(stream_jsonl(tmp_path / "none.jsonl")) == []
