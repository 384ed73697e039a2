"""Numbers of what is alike are those that a dictionary of the things themselves would give."""

from __future__ import annotations

import random

from posttrain.data.dedup import equal_items, first_indices, number_items


def test_numbers_follow_first_sight() -> None:
    draw = random.Random(0)
    things = [str(draw.randrange(300)).encode() for _ in range(1000)]
    seen: dict[bytes, int] = {}
    numbers = [seen.setdefault(thing, len(seen)) for thing in things]
    assert number_items(iter(things)).tolist() == numbers
    assert first_indices(numbers).tolist() == [things.index(thing) for thing in seen]
    assert list(equal_items(things)) == [
        [i for i, one in enumerate(things) if one == thing] for thing in seen
    ]


def test_things_that_differ_in_one_byte_or_in_length_differ() -> None:
    assert number_items([b"", b"\0", b"\0\0", b"\0", b"\1"]).tolist() == [0, 1, 2, 1, 3]


def test_of_nothing_there_are_no_numbers() -> None:
    assert not number_items([])
    assert not first_indices([])
    assert not list(equal_items([]))
