"""The truth about an answer, where there is one: the gold reward of the embedded or the everyday world, or
the constraints a prompt states.

Read afterwards, from saved answers. Nothing that trains imports this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from posttrain.data import constraints
from posttrain.everyday import gold as everyday
from posttrain.everyday.prompts import is_everyday
from posttrain.field_guide import gold as field_guide


@dataclass(frozen=True)
class Judgement:
    """``total`` in [0, 1] is a share of the prompt's maximum; ``parts`` are its components, in [0, 1]."""

    total: float
    parts: dict[str, float] = field(default_factory=dict)


def judge(prompt: Mapping[str, Any], response: str, ended: bool) -> Judgement | None:
    """The gold score of an answer, by the prompt's ``item``; None where there is no gold for it."""
    item = prompt.get("item")
    if not item:
        return None
    if item.get("family") == "constraint":
        judged = constraints.judge(item, response)
        return Judgement(constraints.share(judged), constraints.by_name(judged))
    if is_everyday(item):
        score = everyday.score(item, response, ended)
        return Judgement(score.total, score.parts)
    if item.get("family") in field_guide.WEIGHTS:
        judgement = field_guide.score(item, response, ended)
        return Judgement(judgement.total, judgement.parts)
    return None
