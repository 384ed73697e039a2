"""Preferences come back as they were stored, and their rows know where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.storage.preference_store import PreferenceRow, PreferenceStore
from posttrain.storage.token_rows import TokenRow

ROWS = [TokenRow(ids=[1, *range(n), 7], mask=[False] * (n + 1) + [True]) for n in range(6)]
PREFERENCES = [
    PreferenceRow(rows=ROWS[:2], ranks=[0, 1], confidence=5 / 6, margin=0.1),
    PreferenceRow(rows=ROWS[2:3], ranks=[1]),
    PreferenceRow(rows=ROWS[3:], ranks=[0, 1, -1], confidence=0.5),
]


def test_preferences_come_back(tmp_path: Path) -> None:
    store = PreferenceStore(tmp_path)
    assert not store
    for preference in PREFERENCES:
        store.append(preference)
    assert list(store) == PREFERENCES
    assert store[-1] == PREFERENCES[2]
    assert list(store.rows) == ROWS
    assert [store.row_range(i) for i in range(3)] == [range(2), range(2, 3), range(3, 6)]
    assert store.rows.longest == 7
    assert [path for path in tmp_path.iterdir()] == []


def test_rows_that_were_compared_are_a_group(tmp_path: Path) -> None:
    store = PreferenceStore(tmp_path)
    for preference in PREFERENCES:
        store.append(preference)
    assert [row.group for row in store.grouped] == [0, 0, 1, 2, 2, 2]
    assert [row.ids for row in store.grouped] == [row.ids for row in ROWS]


def test_a_row_without_a_rank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="argument"):
        PreferenceStore(tmp_path).append(PreferenceRow(rows=ROWS[:2], ranks=[0]))
