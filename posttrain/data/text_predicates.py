"""Words, sentences and repeated parts of a text, as format checks count them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return [word.lower() for word in _WORD.findall(text)]


def distinct(parts: Sequence[str]) -> bool:
    """Whether every part has a word, and no two parts have the same words."""
    normalised = [" ".join(words(part)) for part in parts]
    return all(normalised) and len(set(normalised)) == len(normalised)


def varied(text_words: Sequence[str]) -> bool:
    """Whether no word makes up more than half of a text of at least three words."""
    return max((text_words.count(word) for word in text_words), default=0) <= max(2, len(text_words) // 2)
