"""Rows on disk are the rows that were put there, and nothing is left behind."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import torch

from posttrain.models.collate import Row
from posttrain.models.rows_on_disk import LogprobsOnDisk, RowsOnDisk

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


def test_log_probabilities_keep_their_bits(tmp_path: Path) -> None:
    kept, said = LogprobsOnDisk(tmp_path), [torch.randn(steps) for steps in (3, 1, 2, 5)]
    for logprobs in said:
        kept.append(logprobs)
    assert all(torch.equal(kept[at], said[at]) for at in (2, 0, 3, 1))
    both = torch.cat(kept[:2])
    both.zero_()  # what was read is the reader's own
    assert torch.equal(kept[0], said[0])


def test_a_thousand_rows_take_eight_bytes_each(tmp_path: Path) -> None:
    kept = RowsOnDisk(tmp_path)
    tracemalloc.start()
    for place in range(1000):
        kept.append(Row(ids=[place] * 200, mask=[False] + [True] * 199))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 16_000
    assert kept.longest == 200
