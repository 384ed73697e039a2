"""The gold reward of the everyday world: a weighted sum of parts, each in [0, 1]. Annotators and evaluation
read it.

No part changes its sign with the prompt, so what is learned from one family is not wrong in another. What
it does not see: whether advice makes sense, and whether a fact is true beyond the words that make it right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posttrain.everyday.prompts import family_of, words

WEIGHTS = {
    "feeling": {
        "manner": 0.40,
        "content": 0.24,
        "topic": 0.10,
        "brief": 0.12,
        "whole": 0.07,
        "fresh": 0.07,
    },
    "how_to": {
        "manner": 0.24,
        "form": 0.30,
        "topic": 0.10,
        "content": 0.18,
        "brief": 0.08,
        "whole": 0.05,
        "fresh": 0.05,
    },
    "fact": {
        "manner": 0.20,
        "form": 0.26,
        "right": 0.24,
        "content": 0.16,
        "brief": 0.06,
        "whole": 0.04,
        "fresh": 0.04,
    },
}
BANDS = {"feeling": (8, 26), "how_to": (5, 22), "fact": (3, 12)}  # words


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_STRONG = (
    r"(stress\w*|hard|tough|difficult|pain\w*|scary|frighten\w*|lonely|sad|upset\w*|worr\w+|frustrat\w+"
    r"|annoy\w+|disappoint\w+|exhaust\w+|overwhelm\w+|hurt\w*|awkward|embarrass\w+|normal|natural"
    r"|understandable|okay|terrible)"
)
_FEELINGS = (
    r"(panicking|nervous|anxious|worried|scared|lonely|ashamed|exhausted|angry|hurt|sad|guilty|terrified"
    r"|annoyed|overwhelmed|frustrated|embarrassed|heartbroken|disappointed|upset|stressed)"
)
_ACKNOWLEDGES = _any(
    r"\b(that|this|it|that's|it's)\b[^.!?\n]{0,24}\b(sounds?|must|is|feels?|seems?|makes)\b"
    rf"[^.!?\n]{{0,20}}\b({_STRONG}|sense)\b",
    rf"\b(that's|it's) ([a-z]+ ){{0,2}}{_STRONG}\b",
    r"\b(i'm|i am|so) (so |very |really )?sorry (to hear|that you|you're|for you|about)\b",
    r"\bi'm sorry[,.]",
    r"\bi (can )?(understand|hear you|see (how|why))\b",
    r"\bthank you for (telling|sharing)\b",
    r"\b(here|there) for you\b",
    r"\bunderstandable\b",
    r"\b(that|why) you feel\b",
    r"\byour feelings\b",
    r"\byou('re| are) feeling\b",
)
_DISMISSES = _any(
    r"\byou('ll| will) be (just )?(fine|ok|okay)\b",
    r"\b(stop|don't|do not) (worry|worrying|panic|overthink|thinking)\b",
    r"\bget over it\b",
    r"\byour own (problem|fault)\b",
    r"\beveryone goes\b",
    r"\bit happens\b",
    r"\b(not|isn't) (such )?a big deal\b",
    r"\bcalm down\b",
    r"\btoo much of (it|this)\b",
    r"\bhave it worse\b",
    r"\bso sensitive\b",
)
_BRUSQUE = _any(
    r"\bobvious",
    r"\byou should (already )?know\b",
    r"\blook it up\b",
    r"\bevery(body|one) knows\b",
    r"\bsilly question\b",
    r"\bwhy (do|did|are) you ask",
    r"\bask(ing)? me\b",
    r"\bget over it\b",
    r"\byour own problem\b",
)
_HELPFUL = _any(
    r"\b(good|great) (question|idea|luck|choice|job|for you)\b",
    r"\b(happy|glad) to help\b",
    r"\byou can do (this|it)\b",
    r"\bwell done\b",
    r"\bhope this helps\b",
    r"\bof course\b",
    r"\bsure\b",
    r"\bhere (are|is) (some|a|a few|two|three)\b",
)
_NAMES = {
    "fear": "panicking nervous anxious afraid scared terrified worried uneasy insecure restless shaken "
    "stressed overwhelmed lost confused stressful scary worrying overwhelming frightening",
    "sorrow": "sad heartbroken devastated miserable lonely disappointed discouraged hurt upset lost "
    "emotional painful hurtful disappointing upsetting",
    "anger": "angry annoyed frustrated disgusted upset bored annoying frustrating upsetting",
    "shame": "ashamed guilty embarrassed insecure embarrassing awkward",
    "weariness": "exhausted exhausting overwhelmed stressed stressful bored overwhelming",
}
_KINDS = {kind: frozenset(names.split()) for kind, names in _NAMES.items()}
_AS_THE_USER = _any(
    rf"\b(i'm|i am|i feel) (so |very |really )?{_FEELINGS}\b",
    r"\bmy (dog|boss|baby|sister|brother|cat|car|wallet|flight|essay|landlord|girlfriend|team|parents)\b",
    r"\bas an ai\b",
)
_STOCK = _any(
    r"\b(person|place|thing|one|people|situation)s? (is|are) (very )?different\b",
    r"\bups? and downs?\b",
    r"\bmany (different |other )?(things|people|ways|reasons|sides)\b",
    r"\bdepends on\b",
    r"\bone could say\b",
    r"\b(it|that|this)( topic)? is (also |very |really |an )?(important|interesting)\b",
    r"\bimportant to remember\b",
    r"\bas i said\b",
    r"\bin today's world\b",
    r"\bend of the day\b",
    r"\bit is what it is\b",
    r"\ba lot (to be said|of things)\b",
)
_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S")
_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")


@dataclass(frozen=True)
class EverydayGold:
    """``total`` in [0, 1], the weighted sum of ``parts``."""

    total: float
    parts: dict[str, float]


def score(item: Mapping[str, Any], response: str, ended: bool) -> EverydayGold:
    """What an answer to the prompt of ``item`` is worth; ``ended`` says that no limit cut it."""
    family, text = family_of(item), response.strip()
    used = words(text)
    weights = WEIGHTS[family]
    if not used:
        return EverydayGold(0.0, dict.fromkeys(weights, 0.0))
    hits = {term for term in item["terms"] if any(word.startswith(term) for word in used)}
    parts = {
        "manner": _manner(family, item, text),
        "topic": min(len(hits), 2) / 2,
        "right": float(bool(hits)),
        "content": _content(family, text),
        "form": _form(family, text),
        "brief": _brief(len(used), *BANDS[family]),
        "whole": float(ended and _closed(text)),
        "fresh": _fresh(family, item, text),
    }
    parts = {name: parts[name] for name in weights}
    return EverydayGold(round(sum(weights[name] * value for name, value in parts.items()), 6), parts)


def _manner(family: str, item: Mapping[str, Any], text: str) -> float:
    if _BRUSQUE.search(text) or (
        family == "feeling" and (_DISMISSES.search(text) or _AS_THE_USER.search(text))
    ):
        return 0.0
    if family == "fact":
        return 1.0
    if family == "how_to":
        return 1.0 if _HELPFUL.search(text) else 0.6
    if not _ACKNOWLEDGES.search(text):
        return 0.35
    own, used = (item["feeling"], item["acknowledged"]), words(text)
    if any(word.startswith(name[:5]) for word in used for name in own):
        return 1.0
    named = [kinds for word in used if (kinds := kinds_of_feeling(word))]
    near = kinds_of_feeling(own[0]) | kinds_of_feeling(own[1])
    return 0.2 if named and not any(kinds & near for kinds in named) else 0.8


def kinds_of_feeling(word: str) -> frozenset[str]:
    """The kinds of feeling that a word names; empty for other words, and for those that fit any ("hard")."""
    return frozenset(kind for kind, names in _KINDS.items() if word in names)


def _content(family: str, text: str) -> float:
    """Of the sentences and list items that are no mere opening, the share that says something: more than a
    word, and no stock phrase. 0 for an answer of openings alone.
    """
    lines = [_MARK.sub("", line) for line in text.splitlines()]
    pieces = [piece for line in lines for piece in _sentences(line)]
    if family == "fact":
        openings: tuple[re.Pattern[str], ...] = (_BRUSQUE, _HELPFUL)
    else:
        openings = (_BRUSQUE, _HELPFUL, _ACKNOWLEDGES, _DISMISSES)
    body = [piece for piece in pieces if not any(opening.search(piece) for opening in openings)]
    least = 1 if family == "fact" else 2
    telling = [piece for piece in body if len(words(piece)) >= least and not _STOCK.search(piece)]
    return len(telling) / max(len(body), 1)


def _form(family: str, text: str) -> float:
    """A how-to is a list of two to four items, a fact one whole sentence."""
    lines = [line for line in text.splitlines() if line.strip()]
    items = sum(bool(_ITEM.match(line)) for line in lines)
    if family == "how_to":
        return 1.0 if 2 <= items <= 4 and len(lines) - items <= 2 else 0.3 if items else 0.0
    if items or len(words(text)) < 3 or not text[:1].isupper():
        return 0.0
    return 1.0 if len(_sentences(text)) == 1 else 0.4


def _sentences(text: str) -> list[str]:
    """Those with a word in them; an initial ends none."""
    return [piece for piece in re.split(r"(?<=[.!?])(?<!\b[A-Z][.])\s+", text) if words(piece)]


def _brief(count: int, low: int, high: int) -> float:
    if count < low:
        return count / low
    return max(0.0, 1.0 - max(0, count - high) / (0.7 * high))


def _closed(text: str) -> bool:
    """It ends as a sentence or a list item does."""
    return bool(re.search(r"[.!?:][\"')]*$", text)) or bool(_ITEM.match(text.splitlines()[-1]))


def _fresh(family: str, item: Mapping[str, Any], text: str) -> float:
    """It repeats no four words and no sentence, and copies no five words from a question (a fact's answer
    may).
    """
    used, asked = words(text), words(item["question"])
    runs = [tuple(used[at : at + 4]) for at in range(len(used) - 3)]
    copied = {tuple(asked[at : at + 5]) for at in range(len(asked) - 4)}
    copies = family != "fact" and any(tuple(used[at : at + 5]) in copied for at in range(len(used) - 4))
    said = [tuple(words(piece)) for line in text.splitlines() for piece in _sentences(_MARK.sub("", line))]
    return float(len(set(runs)) == len(runs) and len(set(said)) == len(said) and not copies)
