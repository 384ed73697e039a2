"""Words, sentences and lists of a response, normalised so that a checker sees what a reader sees."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

REMEMBERED = 20_000  # texts: the same steps and facts are looked for in every answer
# Function words that may stand before a value or a name without changing which one it is.
LEADING = frozenset(
    [
        "a",
        "an",
        "the",
        "in",
        "on",
        "of",
        "from",
        "to",
        "for",
        "at",
        "into",
        "with",
        "near",
        "by",
        "under",
        "out",
        "some",
        "any",
        "very",
        "piece",
        "kind",
    ]
)

_ALIASES = {
    "mice": "mouse",
    "geese": "goose",
    "leaves": "leaf",
    "loaves": "loaf",
    "knives": "knife",
    "shelves": "shelf",
    "wolves": "wolf",
    "calves": "calf",
    "people": "person",
    "children": "child",
    "wooden": "wood",
    "woollen": "wool",
    "woolen": "wool",
    "golden": "gold",
    "gray": "grey",
    "color": "colour",
    "colors": "colour",
}
# Words that only look like an -ing form, and words whose final e tells them from another word (hop, hope).
_WHOLE = frozenset(
    ("clothing", "building", "pudding", "ceiling", "morning", "evening", "nothing", "something", "herring")
)
_KEEP_E = frozenset(("hope", "tape", "here", "plane", "tube", "cane"))
_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)?|\d+")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_DASH_ITEM = re.compile(r"(?:^|\s)[-*•]\s+")
_NUMBERED = re.compile(r"(?:^|\s)(\d+)[.)]\s+(?=\D)")


def words(text: str) -> list[str]:
    """Lower-case words and whole numbers, in order; punctuation is dropped."""
    return list(_words(text))


@lru_cache(maxsize=REMEMBERED)
def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower().replace("’", "'")))


@lru_cache(maxsize=REMEMBERED)
def stem(word: str) -> str:
    """One form for singular and plural, for eat, eats and eating; not a dictionary form."""
    word = _ALIASES.get(word, word)
    if word in _WHOLE:
        return word
    if len(word) >= 6 and word.endswith("ing") and re.search("[aeiouy]", word[:-3]):
        word = word[:-3]
        if word[-1] == word[-2] and word[-1] not in "lsz":
            word = word[:-1]
    elif len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "ches", "shes", "oes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") and word not in _KEEP_E else word


@lru_cache(maxsize=REMEMBERED)
def stems(text: str) -> tuple[str, ...]:
    """The stem of every word of the text."""
    return tuple(stem(word) for word in _words(text))


@lru_cache(maxsize=REMEMBERED)
def content(text: str) -> tuple[str, ...]:
    """Stems without articles and prepositions: what two ways of saying one value share."""
    return tuple(stem(word) for word in _words(text) if word not in LEADING)


def without_articles(text: str) -> tuple[str, ...]:
    """Stems without articles, prepositions kept."""
    return tuple(stem(word) for word in words(text) if word not in ("a", "an", "the"))


def find(needle: Sequence[str], hay: Sequence[str], start: int = 0) -> int:
    """The first index from `start` on where `needle` stands in `hay`, or -1; an empty needle is nowhere."""
    size = len(needle)
    for index in range(start, len(hay) - size + 1) if size else ():
        if tuple(hay[index : index + size]) == tuple(needle):
            return index
    return -1


def sentences(text: str) -> list[str]:
    """Sentences with their final mark; an item of a list is a sentence of its own, without its marker."""
    parts = numbered_items(text) or dash_items(text) or [text]
    return [found.strip() for part in parts for found in _SENTENCE.findall(part) if words(found)]


def dash_items(text: str) -> list[str]:
    """What stands behind each dash of a text that is a list from its first character; else nothing."""
    if not text.lstrip().startswith(("- ", "* ", "• ")):
        return []
    return [item.strip() for item in _DASH_ITEM.split(text)[1:]]


def numbered_items(text: str) -> list[str]:
    """What stands behind 1., 2., 3. when the text is such a list from its first character; else nothing."""
    marks = list(_NUMBERED.finditer(text))
    if (
        not marks
        or text[: marks[0].start()].strip()
        or [int(m[1]) for m in marks] != list(range(1, len(marks) + 1))
    ):
        return []
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]


def clauses(sentence: str) -> Iterator[str]:
    """The parts between commas, colons and "but": negation does not reach beyond one."""
    for part in re.split(r"[,;:]|\bbut\b", sentence):
        if words(part):
            yield part


NUMBER_WORDS = {
    name: number
    for number, name in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
