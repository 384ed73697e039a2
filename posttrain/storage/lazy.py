"""Sequences whose items are made when they are asked for, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class LazySequence(Sequence[Item]):
    """A subclass has a length, and ``read(index)`` for an index from 0; negative ones and slices follow."""

    def read(self, index: int) -> Item:
        """The item at an index from 0 to the length, which is excluded."""
        raise NotImplementedError(f"{type(self).__name__}.read")

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self.read(i) for i in range(*index.indices(len(self)))]
        return self.read(range(len(self))[index])


class Mapped(LazySequence[Item]):
    """``count`` items, each of them ``function(index)``."""

    def __init__(self, count: int, function: Callable[[int], Item]) -> None:
        self._count, self._function = count, function

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> Item:
        return self._function(index)
