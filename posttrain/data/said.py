"""What checks of an answer count: words, sentences, parts that differ."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return [word.lower() for word in _WORD.findall(text)]


def distinct(parts: Sequence[str]) -> bool:
    """Whether every part says something and no two say the same."""
    said = [" ".join(words(part)) for part in parts]
    return all(said) and len(set(said)) == len(said)


def varied(said: Sequence[str]) -> bool:
    """Whether no word makes up more than half of a text of at least three words."""
    return max((said.count(word) for word in said), default=0) <= max(2, len(said) // 2)
