"""Simulated annotators who compare two short segments of play; no torch."""

from __future__ import annotations

import random
from dataclasses import dataclass

from posttrain.feedback.choice import Choice, sigmoid


@dataclass(frozen=True, kw_only=True)
class SegmentAnnotator:
    """A simulated person who prefers a over b with probability ``sigmoid((R(a) - R(b)) /
    temperature)`` (Bradley and Terry 1952), where R is what a stretch truly earned; stretches that
    earned the same are a tie (Christiano et al. 2017, section 2.2.2, with a preference for the right
    one that grows with the difference).
    """

    recorded_as = "posttrain.feedback.segments:Watcher"
    temperature: float = 1.0
    """Noise of the choice between two stretches, in units of the environment's reward; near 0 it has none."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}, expected above 0")

    def compare(self, a: float, b: float, seed: int | str) -> Choice:
        """The choice between two returns; the same arguments give the same one."""
        if a == b:
            return "tie"
        draw = random.Random(f"watch:{seed}").random()
        return "a" if draw < sigmoid((a - b) / self.temperature) else "b"
