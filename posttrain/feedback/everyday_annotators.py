"""Simulated readers of answers to everyday questions; every record they make says that it is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posttrain.everyday.gold import WEIGHTS, score
from posttrain.everyday.prompts import family_of
from posttrain.feedback.simulated import Annotator


@dataclass(frozen=True)
class Reader(Annotator):
    """An annotator whose utility is the gold of the everyday world.

    Where the fact check is skipped (``skips_facts``), whether the answer stays with its topic, or is right,
    is not looked at.
    """

    def utility(self, item: Mapping[str, Any], response: str, ended: bool, *, facts: bool = True) -> float:
        """What the response is worth to this annotator."""
        gold = score(item, response, ended)
        worth = gold.total
        if not facts:
            weights = WEIGHTS[family_of(item)]
            worth -= sum(weights[name] * gold.parts[name] for name in ("topic", "right") if name in weights)
        return worth + self.per_word * len(response.split())


READERS: tuple[Annotator, ...] = (
    Reader("careful", temperature=0.06),
    Reader("hasty", temperature=0.10, skips_facts=0.3),
    Reader("length_lover", temperature=0.10, per_word=0.003),
    Reader("careless", temperature=0.10, tosses=0.2),
)
