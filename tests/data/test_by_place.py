"""What is made when it is asked for is read as any sequence is, and is not made before."""

from __future__ import annotations

import pytest

from posttrain.data.by_place import Made


def test_it_is_read_as_a_list_is() -> None:
    squares, made = [place * place for place in range(7)], Made(7, lambda place: place * place)
    assert list(made) == squares
    assert len(made) == 7
    assert [made[at] for at in (0, 6, -1, -7)] == [squares[at] for at in (0, 6, -1, -7)]
    for part in (slice(2, 5), slice(None, None, -2), slice(-3, 99)):
        assert made[part] == squares[part]
    for outside in (7, -8):
        with pytest.raises(IndexError):
            made[outside]
    assert not Made(0, lambda place: place)


def test_nothing_is_made_that_nobody_asks_for() -> None:
    asked: list[int] = []
    made = Made(10**12, asked.append)
    assert made[5] is None
    assert asked == [5]
