"""A final answer that is the known number or words: a verifiable reward that needs no other package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards._equivalence import plain
from posttrain.rewards._final_answer import denied, final
from posttrain.rewards.base import Episode, Rewards
from posttrain.rewards.math_answer import gold_of

LONGEST = 60  # characters of a number
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<sign>[-−+]?) ?\\?[$€£]?(?P<whole>{_DIGITS})(?: ?/ ?(?P<below>\d+)| (?P<top>\d+)/(?P<under>\d+))?"
    r"(?P<percent> ?\\?%)?(?P<unit>(?: [^\W\d_]+){0,3})\.?"
)
_FRACTION = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
# Words behind a number that make it another one, so they are no unit.
_NO_UNIT = re.compile(
    r"\b(?:hundred|thousand|[mb]illion|trillion|dozen|hal(?:f|ves)|third|quarter|percent|squared|cubed|times|plus|minus"
    r"|over|by|or|and|not)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class FinalAnswer:
    """1 where the final answer is the prompt's ``answer``, else 0; 0 for an answer that a limit cut.

    A known number (whole, decimal, a fraction, a percentage) is compared with the last number that the answer
    states, whatever its unit; known words with the last words, without case and punctuation; a formula or a
    list as text. Where the answer is stated is found as :class:`MathAnswer` finds it, which also compares
    formulas and needs another package. Prompts without ``answer`` are not scored.
    """

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return "" if prompt.get("answer") is not None else "answer"

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[FinalAnswerScorer]:
        """Needs nothing."""
        yield FinalAnswerScorer()


@dataclass(frozen=True)
class FinalAnswerScorer:
    """Compares numbers and words."""

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``right``."""
        answers = [episode.prompt.get("answer") for episode in episodes]
        right = [
            answer is not None and episode.ended and is_stated(str(answer), episode.response)
            for answer, episode in zip(answers, episodes, strict=True)
        ]
        values = torch.tensor(right, dtype=torch.float32)
        scored = torch.tensor([answer is not None for answer in answers], dtype=torch.bool)
        return Rewards(values=values, scored=scored, parts={"right": values})


def is_stated(answer: str, response: str) -> bool:
    """Whether a response states the known answer as its final one."""
    answer = gold_of(answer)
    stated, wanted = final(response, answer), number(answer)
    if wanted is not None:
        given = number(stated)
        return given is not None and wanted in ({given} if "%" in answer else {given, number(_bare(stated))})
    if re.search(r"[\d=+*/^\\]", answer):  # a formula or a list
        return _bare(plain(stated)).casefold() == _bare(plain(answer)).casefold()
    words, last = _words(answer), response.strip().splitlines()[-1:]
    return bool(words) and any(_ends_with(text, words) and not denied(text) for text in (stated, *last))


def number(text: str) -> Fraction | None:
    """The number that a text is, with a currency or a unit of up to three words around it; None where it is
    anything else. Of an equation its last side counts.
    """
    text = _FRACTION.sub(r"\1/\2", plain(text).rpartition("=")[2]).strip("* ")
    match = _NUMBER.fullmatch(text) if len(text) <= LONGEST else None
    if match is None or _NO_UNIT.search(match["unit"]):
        return None
    value = Fraction(match["whole"].replace(",", ""))
    below = int(match["below"] or match["under"] or 1)
    if below == 0:
        return None
    value = value / below if match["below"] else value + Fraction(int(match["top"] or 0), below)
    value = value / 100 if match["percent"] else value
    return -value if match["sign"] in ("-", "−") else value


def _bare(text: str) -> str:
    return re.sub(r"[\s%]", "", text)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _ends_with(text: str, words: list[str]) -> bool:
    return _words(text[-4 * LONGEST :])[-len(words) :] == words
