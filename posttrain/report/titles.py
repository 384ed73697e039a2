"""How a reader is told of metrics, models and stages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from posttrain.metrics import SLOT, Declared

ACRONYMS = frozenset(("dpo", "kto", "ppo", "rl", "rlhf", "rm", "sft"))


def plain(name: str) -> str:
    """An address, or a part of a name: ``best_of_4`` is best of 4, ``sft`` is SFT."""
    return " ".join(word.upper() if word in ACRONYMS else word for word in name.split("_"))


def title(declared: Declared | None, name: str) -> str:
    """What a metric is called in a sentence; one that nobody declares has its own name."""
    if declared is None:
        return plain(name).replace("/", ": ", 1)
    text = declared.kind.title or declared.kind.name
    slots = {slot: plain(text) for slot, text in declared.slots.items()}
    if declared.of is not None:
        slots["metric"] = title(declared.of, declared.slots["metric"])
    return filled(text if declared.kind.title else plain(text).replace("/", ": ", 1), slots)


def label(declared: Declared, name: str) -> str:
    """What a metric is called beside others on one axis: by its slots, where it is one of a family."""
    slots = {slot: plain(text) for slot, text in declared.slots.items()}
    if declared.kind.label:
        return filled(declared.kind.label, slots)
    if {"model", "other"} <= slots.keys():
        return f"{slots['model']} vs {slots['other']}"
    return ", ".join(slots.values()) or title(declared, name)


def filled(text: str, slots: Mapping[str, str]) -> str:
    return SLOT.sub(lambda slot: slots.get(slot[1], slot[0]), text)


def words_of(kind: str) -> str:
    """The name of a class in words: ``my.CartPoleRun`` is cart pole run."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.rpartition(".")[2]).lower()
