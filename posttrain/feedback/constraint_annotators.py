"""Simulated annotators of prompts with verifiable constraints; their records are marked as simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posttrain.data.constraints import judge
from posttrain.feedback.simulated import Annotator


@dataclass(frozen=True)
class Checker(Annotator):
    """An annotator whose utility is the share of a prompt's checks that an answer obeys; 0 for
    a truncated one.

    An annotator that skips the fact check (``skips_facts``) does not check the topic either.
    """

    def utility(self, item: Mapping[str, Any], response: str, ended: bool, *, facts: bool = True) -> float:
        """What the response is worth to this annotator."""
        judged = judge(item, response)
        looked_at = [obeys for name, obeys in judged if facts or name != "on_topic"] or [True]
        worth = sum(looked_at) / len(looked_at) if ended else 0.0
        return worth + self.per_word * len(response.split())


# Whether a form was kept is easier to see than whether an answer is good, so these err less than people do.
CHECKERS: tuple[Annotator, ...] = (
    Checker("careful", temperature=0.1),
    Checker("hasty", temperature=0.2, skips_facts=0.5),
    Checker("length_lover", temperature=0.2, per_word=0.005),
    Checker("careless", temperature=0.2, tosses=0.3),
)
