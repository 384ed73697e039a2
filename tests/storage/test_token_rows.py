"""Rows on disk are the rows that were put there, and nothing is left behind."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import torch

from posttrain.storage.logprob_store import LogprobStore
from posttrain.storage.token_rows import TokenRow, TokenRowStore

ROWS = [
    TokenRow(ids=[1, 2, 3], mask=[False, True, True]),
    TokenRow(ids=[70_000, 2**31 - 1], mask=[False, True]),
    TokenRow(ids=[5], mask=[False]),
]


def test_what_went_in_comes_out_in_any_order(tmp_path: Path) -> None:
    store = TokenRowStore(tmp_path)
    assert not store
    for row in ROWS:
        store.append(row)
    assert list(store) == ROWS
    assert [store[i] for i in (2, 0, -1, 1)] == [ROWS[i] for i in (2, 0, 2, 1)]
    assert store[1:] == ROWS[1:]
    store.append(ROWS[0])  # after reading
    assert store[3] == ROWS[0]
    with pytest.raises(IndexError):
        store[4]


def test_no_file_is_seen_beside_a_product(tmp_path: Path) -> None:
    store = TokenRowStore(tmp_path)
    store.append(ROWS[0])
    assert store[0] == ROWS[0]
    assert list(tmp_path.iterdir()) == []


def test_log_probabilities_keep_their_bits(tmp_path: Path) -> None:
    store, said = LogprobStore(tmp_path), [torch.randn(steps) for steps in (3, 1, 2, 5)]
    for logprobs in said:
        store.append(logprobs)
    assert all(torch.equal(store[at], said[at]) for at in (2, 0, 3, 1))
    both = torch.cat(store[:2])
    both.zero_()  # what was read is the reader's own
    assert torch.equal(store[0], said[0])


def test_a_thousand_rows_take_eight_bytes_each(tmp_path: Path) -> None:
    store = TokenRowStore(tmp_path)
    tracemalloc.start()
    for place in range(1000):
        store.append(TokenRow(ids=[place] * 200, mask=[False] + [True] * 199))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 16_000
    assert store.longest == 200
