"""In which order prompts are asked."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass
from functools import lru_cache

from posttrain.core.seeds import derive


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> array[int]:
    order = array("q", range(count))
    random.Random(derive(seed, "prompts", epoch)).shuffle(order)
    return order


@dataclass(frozen=True)
class PromptOrder:
    """The numbers of ``count`` prompts without end, shuffled anew each time all have been asked.

    Holds no position: ``at(n)`` is the n-th for the same count and seed, so nothing is lost or repeated when
    a run continues.
    """

    count: int
    seed: int = 0

    def at(self, position: int) -> int:
        """The number of the prompt at a position, both from 0."""
        epoch, position = divmod(position, self.count)
        return _order(self.count, self.seed, epoch)[position]
