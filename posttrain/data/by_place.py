"""Sequences whose items are made when they are asked for, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class ByPlace(Sequence[Item]):
    """A subclass has a length, and ``read(place)`` for a place from 0."""

    def read(self, place: int) -> Item:
        """The item at a place from 0 to the length, which is not among them."""
        raise NotImplementedError(f"{type(self).__name__}.read")

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            return [self.read(at) for at in range(*place.indices(len(self)))]
        return self.read(range(len(self))[place])


class Made(ByPlace[Item]):
    """``count`` items, each of them what ``make`` makes of its place."""

    def __init__(self, count: int, make: Callable[[int], Item]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def read(self, place: int) -> Item:
        return self._make(place)
