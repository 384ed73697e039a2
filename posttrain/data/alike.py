"""Which of many things are alike, without keeping the things."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np


def numbered(things: Iterable[bytes]) -> array[int]:
    """[n]: a number for each thing from 0, in the order of first sight; those that are alike have the same.

    Of each thing 16 bytes are kept while this runs, a hash (BLAKE2b) that no two different ones share.
    """
    kept = bytearray()
    for thing in things:
        kept += hashlib.blake2b(thing, digest_size=16).digest()
    halves = np.frombuffer(kept, dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 0], halves[:, 1]))  # stable: of those alike the first stays first
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (halves[order[1:]] != halves[order[:-1]]).any(1)
    by_sight = order[is_first].argsort().argsort()
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = by_sight[is_first.cumsum() - 1]
    return array("q", numbers.tobytes())


def firsts(numbers: Iterable[int]) -> array[int]:
    """The place at which each number of ``numbered`` stands for the first time."""
    places = array("q")
    for place, number in enumerate(numbers):
        if number == len(places):
            places.append(place)
    return places


def together(things: Iterable[bytes]) -> Iterator[list[int]]:
    """The places of those that are alike, one kind after another in the order of first sight."""
    numbers = np.asarray(numbered(things))
    for _, places in groupby(numbers.argsort(kind="stable"), key=numbers.__getitem__):
        yield [int(place) for place in places]
