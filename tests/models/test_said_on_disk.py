"""What was said comes back as it was, and its rows know where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.models.collate import Row
from posttrain.models.said_on_disk import Said, SaidOnDisk

ROWS = [Row(ids=[1, *range(n), 7], mask=[False] * (n + 1) + [True]) for n in range(6)]
SAID = [
    Said(rows=ROWS[:2], ranks=[0, 1], sure=5 / 6, margin=0.1),
    Said(rows=ROWS[2:3], ranks=[1]),
    Said(rows=ROWS[3:], ranks=[0, 1, -1], sure=0.5),
]


def test_what_was_said_comes_back(tmp_path: Path) -> None:
    kept = SaidOnDisk(tmp_path)
    assert not kept
    for said in SAID:
        kept.append(said)
    assert list(kept) == SAID
    assert kept[-1] == SAID[2]
    assert list(kept.rows) == ROWS
    assert [kept.places(at) for at in range(3)] == [range(2), range(2, 3), range(3, 6)]
    assert kept.rows.longest == 7
    assert [path for path in tmp_path.iterdir()] == []


def test_rows_that_were_compared_are_a_group(tmp_path: Path) -> None:
    kept = SaidOnDisk(tmp_path)
    for said in SAID:
        kept.append(said)
    assert [row.group for row in kept.grouped] == [0, 0, 1, 2, 2, 2]
    assert [row.ids for row in kept.grouped] == [row.ids for row in ROWS]


def test_a_row_without_a_rank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="argument"):
        SaidOnDisk(tmp_path).append(Said(rows=ROWS[:2], ranks=[0]))
