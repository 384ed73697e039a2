"""How much work a process did, counted where the process that is killed cannot lose it: in shared memory."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from typing import Any

COUNTED = ("encoded", "read", "answers", "scored", "plays", "updates")
"""Rows made tokens; rows of which log-probabilities were computed for a chunk; answers begun; answers given
to a reward; batches of play; updates."""
PHASES = ("set-up", "loop", "finishing")
_WIDTH = 8


class Counters:
    """Whole numbers by name, and the phase of a stage; shared with all processes forked after it was made."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _WIDTH * (len(COUNTED) + 1))

    def add(self, name: str, amount: int) -> None:
        """Counts work that is about to be done."""
        self._write(COUNTED.index(name), self[name] + amount)

    def __getitem__(self, name: str) -> int:
        return self._read(COUNTED.index(name))

    @property
    def phase(self) -> str:
        """Of PHASES: what the stage does now."""
        return PHASES[self._read(len(COUNTED))]

    @phase.setter
    def phase(self, name: str) -> None:
        self._write(len(COUNTED), PHASES.index(name))

    def all(self) -> dict[str, int]:
        """Each by its name."""
        return {name: self[name] for name in COUNTED}

    def clear(self) -> None:
        """All are 0, and a stage is about to begin."""
        for index in range(len(COUNTED) + 1):
            self._write(index, 0)

    def _read(self, index: int) -> int:
        value: int = struct.unpack_from("q", self._memory, index * _WIDTH)[0]
        return value

    def _write(self, index: int, value: int) -> None:
        struct.pack_into("q", self._memory, index * _WIDTH, value)


def count_work(counters: Counters) -> None:
    """Makes this process count. For a process that ends afterwards: functions are replaced for good."""
    from posttrain.pipeline import runner
    from posttrain.rollouts import batched_eval, collect, play, sample
    from posttrain.storage import chunks
    from posttrain.training import fit, rl_loop
    from posttrain.training.drive import Driver

    _count(counters, "updates", [rl_loop, fit], "update", lambda *_: 1)
    _count(counters, "answers", [sample, collect], "sample", lambda *given: len(given[2]))
    _count(counters, "scored", [sample, collect], "rewards_of", lambda *given: len(given[1]))
    _count(counters, "plays", [play.Player], "__call__", lambda *_: 1)
    for module, name in ((chunks, "encoded"), (batched_eval, "read")):
        _count_chunks(counters, module, name)
    drive, attempts = Driver.drive, runner.Attempts

    def started(*given: Any, **more: Any) -> Any:
        counters.phase = "set-up"
        return attempts(*given, **more)

    def driven(*given: Any, **more: Any) -> Any:
        counters.phase = "loop"
        rows = drive(*given, **more)
        counters.phase = "finishing"
        return rows

    Driver.drive = driven  # type: ignore[method-assign]
    runner.Attempts = started  # type: ignore[misc, assignment]


def _count(
    counters: Counters, name: str, owners: list[Any], function: str, amount: Callable[..., int]
) -> None:
    for owner in owners:
        original = getattr(owner, function)

        def counting(*given: Any, original: Any = original, **more: Any) -> Any:
            counters.add(name, amount(*given))
            return original(*given, **more)

        setattr(owner, function, counting)


def _count_chunks(counters: Counters, module: Any, name: str) -> None:
    original = module.in_chunks

    def counting(where: Any, pieces: Any, make: Any) -> Any:
        def counted(piece: range) -> Any:
            counters.add(name, len(piece))
            return make(piece)

        return original(where, pieces, counted)

    module.in_chunks = counting
