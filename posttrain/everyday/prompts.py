"""Questions about the topics, in words that differ between training and held-out splits."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from posttrain.everyday.topics import FAMILIES, Topic, topics

Row = dict[str, Any]
SYSTEM = "Answer briefly."
SHARES = {"feeling": 0.5, "how_to": 0.35, "fact": 0.15}
_PREFIX = "everyday_"  # of an item's family: the embedded world has feelings and how-tos of its own
_TRAINED = {
    "feeling": (
        "{subject} and I'm {feeling}.",
        "{subject}. I am so {feeling}.",
        "I'm {feeling}. {subject}.",
        "{subject} and I feel {feeling}. What now?",
        "{subject}. I'm {feeling}, what should I do?",
        "I am {feeling} because of this: {subject}.",
    ),
    "how_to": (
        "How can I {subject}?",
        "How do I {subject}?",
        "I want to {subject}. Any tips?",
        "What helps to {subject}?",
        "Tips to {subject}, please.",
    ),
    "fact": ("{subject}", "Please finish: {subject}", "{subject} ..."),
}
_HELD_OUT = {
    "feeling": (
        "{subject} and I'm really {feeling}.",
        "I feel {feeling}. {subject}.",
        "{subject}, so I'm {feeling}. Any advice?",
        "{subject} and it makes me {feeling}.",
    ),
    "how_to": (
        "What is the best way to {subject}?",
        "Can you tell me how to {subject}?",
        "I'd like to {subject}. What should I do?",
        "How does one {subject}?",
    ),
    "fact": ("{subject}", "Complete this: {subject}"),
}
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def prompts(split: str, rows: int, seed: int) -> list[Row]:
    """Up to ``rows`` different prompts, families in the proportion of ``SHARES``; fewer where a family's
    topics and wordings are used up. Rows are {"id", "prompt": messages, "item"}.
    """
    rng = random.Random(f"everyday:{split}:{seed}")
    wordings = _TRAINED if split == "train" else _HELD_OUT
    left = {
        family: [(topic, wording) for topic in topics(family, split) for wording in wordings[family]]
        for family in FAMILIES
    }
    for pool in left.values():
        rng.shuffle(pool)
    made: list[Row] = []
    while len(made) < rows:
        families = [family for family in FAMILIES if left[family]]
        if not families:
            break
        family = rng.choices(families, [SHARES[name] for name in families])[0]
        topic, wording = left[family].pop()
        made.append(_row(topic, wording, f"everyday-{split}-{seed}-{len(made)}"))
    return made


def family_of(item: Mapping[str, Any]) -> str:
    """The family of topics that an item was made from."""
    return str(item["family"]).removeprefix(_PREFIX)


def is_everyday(item: Mapping[str, Any]) -> bool:
    """Whether an item is one of this world."""
    return str(item.get("family", "")).startswith(_PREFIX)


def _row(topic: Topic, wording: str, name: str) -> Row:
    text = wording.format(subject=topic.subject, feeling=topic.feeling)
    advised = {word[:6] for step in topic.steps for word in words(step) if len(word) > 3}
    item = {
        "family": f"{_PREFIX}{topic.family}",
        "subject": topic.subject,
        "feeling": topic.feeling,
        "acknowledged": topic.acknowledged,
        "terms": [*topic.terms, *sorted(advised - set(topic.terms))],
        "question": text,
    }
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    return {"id": name, "prompt": messages, "item": item}
