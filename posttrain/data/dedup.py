"""Finds equal items among many without holding the items in memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np


def number_items(things: Iterable[bytes]) -> array[int]:
    """[n]: a number for each item, from 0 in the order of first appearance; equal items have equal numbers.

    Items are compared by 16 bytes of BLAKE2b.
    """
    hashes = bytearray()
    for thing in things:
        hashes += hashlib.blake2b(thing, digest_size=16).digest()
    halves = np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 0], halves[:, 1]))  # stable: of equal items the first stays first
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (halves[order[1:]] != halves[order[:-1]]).any(1)
    by_sight = order[is_first].argsort().argsort()
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = by_sight[is_first.cumsum() - 1]
    return array("q", numbers.tobytes())


def first_indices(numbers: Iterable[int]) -> array[int]:
    """The index at which each number of ``number_items`` appears for the first time."""
    places = array("q")
    for index, number in enumerate(numbers):
        if number == len(places):
            places.append(index)
    return places


def equal_items(things: Iterable[bytes]) -> Iterator[list[int]]:
    """The indices of equal items, a list for each distinct item, in the order of first appearance."""
    numbers = np.asarray(number_items(things))
    for _, places in groupby(numbers.argsort(kind="stable"), key=numbers.__getitem__):
        yield [int(index) for index in places]
