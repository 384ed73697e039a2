"""A lazy sequence is read as a list is, and makes an item when it is asked for."""

from __future__ import annotations

import pytest

from posttrain.storage.lazy import Mapped


def test_it_is_read_as_a_list_is() -> None:
    squares, mapped = [i * i for i in range(7)], Mapped(7, lambda i: i * i)
    assert list(mapped) == squares
    assert len(mapped) == 7
    assert [mapped[i] for i in (0, 6, -1, -7)] == [squares[i] for i in (0, 6, -1, -7)]
    for part in (slice(2, 5), slice(None, None, -2), slice(-3, 99)):
        assert mapped[part] == squares[part]
    for outside in (7, -8):
        with pytest.raises(IndexError):
            mapped[outside]
    assert not Mapped(0, lambda i: i)


def test_only_items_that_are_asked_for_are_made() -> None:
    asked: list[int] = []
    mapped = Mapped(10**12, asked.append)
    assert mapped[5] is None
    assert asked == [5]
