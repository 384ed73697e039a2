"""Constraints on an answer that a program can check without understanding it.

An item is plain JSON: {"family": "constraint", "checks": [{"check": "bullets", "count": 3}, ...], ...}. A
check is a function of the answer's text and its settings; a judge of meaning it is not. IFEval's instructions
are checks too, under their own names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from posttrain.data.format_checks import MORE
from posttrain.data.ifeval import IFEVAL
from posttrain.data.text_predicates import SENTENCE_END, distinct, varied, words
from posttrain.pipeline.finding import UserError

LARGEST = 10_000  # of a count in a check's settings
_BULLET = re.compile(r"^[-*•]\s+(\S.*)$")
_NUMBER = re.compile(r"^(\d+)[.)]\s+(\S.*)$")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def one_word(text: str) -> bool:
    """A single word, with or without a full stop."""
    return bool(re.fullmatch(r"[^\W\d_]+(?:['’-][^\W\d_]+)*[.!]?", text.strip()))


def at_most_words(text: str, count: int) -> bool:
    """At least two words and at most ``count``."""
    text_words = words(text)
    return 2 <= len(text_words) <= count and varied(text_words)


def between_words(text: str, low: int, high: int) -> bool:
    """From ``low`` to ``high`` words."""
    text_words = words(text)
    return low <= len(text_words) <= high and varied(text_words)


def sentences(text: str, count: int) -> bool:
    """So many sentences, no two alike, the last one finished, and no list."""
    parts = [part for part in SENTENCE_END.split(text) if words(part)]
    finished = bool(re.search(r"[.!?][\"')]*$", text.strip()))
    listed = any(_BULLET.match(line) or _NUMBER.match(line) for line in _lines(text))
    return len(parts) == count and finished and not listed and distinct(parts)


def bullets(text: str, count: int) -> bool:
    """Nothing but so many lines that begin with a bullet, no two alike."""
    matches = [_BULLET.match(line) for line in _lines(text)]
    items = [match[1] for match in matches if match]
    return len(items) == len(matches) == count and distinct(items)


def numbered(text: str, count: int) -> bool:
    """Nothing but lines 1. 2. 3. up to ``count``, no two alike."""
    matches = [_NUMBER.match(line) for line in _lines(text)]
    items = [(int(match[1]), match[2]) for match in matches if match]
    in_order = [number for number, _ in items] == list(range(1, count + 1))
    return len(matches) == count and in_order and distinct([item for _, item in items])


def comma_list(text: str, count: int) -> bool:
    """One line of so many short things between commas, no two alike."""
    parts = re.split(r",\s*(?:and\s+)?", text.strip().rstrip("."))
    short = all(1 <= len(words(part)) <= 3 for part in parts)
    return len(parts) == count and short and "\n" not in text.strip() and distinct(parts)


def lowercase(text: str) -> bool:
    """Letters, none of them a capital."""
    return text != text.upper() and text == text.lower()


def uppercase(text: str) -> bool:
    """Letters, all of them capitals."""
    return text != text.lower() and text == text.upper()


def no_commas(text: str) -> bool:
    """At least three words without a comma."""
    text_words = words(text)
    return len(text_words) >= 3 and "," not in text and varied(text_words)


def begins_with(text: str, phrase: str) -> bool:
    """The phrase first, and something after it."""
    text = text.strip()
    return text.startswith(phrase) and bool(words(text[len(phrase) :]))


def ends_with(text: str, phrase: str) -> bool:
    """The phrase last, and something before it."""
    text = text.strip()
    return text.endswith(phrase) and bool(words(text[: -len(phrase)]))


def includes(text: str, word: str) -> bool:
    """The word, once or twice, among at least three: repeating it is no answer."""
    text_words = words(text)
    return 1 <= text_words.count(word.lower()) <= 2 and len(text_words) >= 3


def excludes(text: str, word: str) -> bool:
    """At least three words, not this one."""
    text_words = words(text)
    return len(text_words) >= 3 and word.lower() not in text_words and varied(text_words)


def quoted(text: str) -> bool:
    """All of it in one pair of double quotation marks."""
    text = text.strip().replace("“", '"').replace("”", '"')
    return len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1] and bool(words(text))


def json_keys(text: str, keys: Sequence[str]) -> bool:
    """A JSON object with exactly these keys, each with a text that says something."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict) or set(value) != set(keys):
        return False
    return all(isinstance(content, str) and words(content) for content in value.values())


def on_topic(text: str, terms: Sequence[str]) -> bool:
    """One of the terms, in the singular or plural, and no word making up half of a longer answer."""
    text_words = words(text)
    stems = {word.removesuffix("s") for word in text_words}
    return bool(stems & {term.lower().removesuffix("s") for term in terms}) and varied(text_words)


CHECKS: dict[str, Callable[..., bool]] = {
    check.__name__: check
    for check in (
        one_word,
        at_most_words,
        between_words,
        sentences,
        bullets,
        numbered,
        comma_list,
        lowercase,
        uppercase,
        no_commas,
        begins_with,
        ends_with,
        includes,
        excludes,
        quoted,
        json_keys,
        on_topic,
        *MORE,
    )
} | IFEVAL


def judge(item: Mapping[str, Any], response: str) -> list[tuple[str, bool]]:
    """The name of each check of an item, in order, and whether the answer obeys it. An item may have several
    checks of one name.

    Raises UserError for a check that is not known or has wrong settings.
    """
    judged = []
    for given in item["checks"]:
        settings = {key: value for key, value in given.items() if key != "check"}
        name = given.get("check")
        check = CHECKS.get(name) if isinstance(name, str) else None
        if check is None:
            raise UserError(f"check {name!r} is not known; there are {', '.join(CHECKS)}")
        try:
            judged.append((given["check"], check(response, **settings)))
        except (TypeError, AttributeError, ValueError, re.error) as problem:
            raise UserError(f"check {given['check']!r} with settings {settings}: {problem}") from problem
    return judged


def obeyed(item: Mapping[str, Any], response: str) -> float:
    """The share of an item's checks that an answer obeys, from 0 to 1."""
    return share(judge(item, response))


def share(judged: Sequence[tuple[str, bool]]) -> float:
    """The share that is obeyed."""
    return sum(obeys for _, obeys in judged) / len(judged)


def by_name(judged: Sequence[tuple[str, bool]]) -> dict[str, float]:
    """The share of the checks of each name that is obeyed."""
    names = dict.fromkeys(name for name, _ in judged)
    return {name: share([one for one in judged if one[0] == name]) for name in names}


def wrong_check(checks: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with the checks themselves; empty where they can be made. A setting must be of the type
    that the check declares, a number from 0 to ``LARGEST``.
    """
    for given in checks:
        check = CHECKS.get(str(given.get("check")))
        types = get_type_hints(check) if check else {}
        for name, value in given.items():
            if name in types and (expected := _unexpected(value, types[name])):
                return f"check {given['check']!r}: {name} is {value!r}, expected {expected}"
    try:
        judge({"checks": checks}, "Any text.")
    except UserError as problem:
        return str(problem)
    return ""


def _unexpected(value: Any, declared: Any) -> str:
    """What is expected in place of a value; empty where it is as declared."""
    if declared is str:
        return "" if isinstance(value, str) and value.strip() else "text"
    if declared is int:
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
        return "" if whole else f"a whole number from 0 to {LARGEST}"
    listed = (
        isinstance(value, list | tuple) and value and all(isinstance(v, str) and v.strip() for v in value)
    )
    return "" if listed else "a list of texts"
