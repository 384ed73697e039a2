"""What is asked about: a table for each family, split by topic into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FAMILIES = ("feeling", "how_to", "fact")
SPLITS = {"train": "train", "validation": "val", "test": "test"}
_FILES = {"feeling": "feelings.txt", "how_to": "how_tos.txt", "fact": "facts.txt"}
_COLUMNS = {"feeling": 6, "how_to": 4, "fact": 4}


@dataclass(frozen=True)
class Topic:
    """``subject`` is a situation, a task, or the beginning of a sentence; ``completion`` is what a fact
    ends in.

    ``terms`` are beginnings of words: whoever stays with the topic uses some of them.
    """

    family: str
    subject: str
    terms: tuple[str, ...]
    steps: tuple[str, ...] = ()
    feeling: str = ""  # how the user feels
    acknowledged: str = ""  # what a warm reader calls the situation
    completion: str = ""


@cache
def topics(family: str, split: str) -> tuple[Topic, ...]:
    """The topics of a family in a split of ``SPLITS``, in the order of their file."""
    text = (Path(__file__).parent / _FILES[family]).read_text("utf-8")
    rows = [line.split("|") for line in text.splitlines() if line and not line.startswith("#")]
    assert all(len(row) == _COLUMNS[family] for row in rows)
    return tuple(_topic(family, row[1:]) for row in rows if row[0] == SPLITS[split])


def _topic(family: str, cells: list[str]) -> Topic:
    subject, terms = cells[0], tuple(cells[-1].split())
    if family == "fact":
        return Topic(family, subject, terms, completion=cells[1])
    steps = tuple(cells[-2].split(";"))
    if family == "how_to":
        return Topic(family, subject, terms, steps)
    return Topic(family, subject, terms, steps, feeling=cells[1], acknowledged=cells[2])
