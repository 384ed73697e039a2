"""Checks for prompts of one's own; the embedded prompts ask for none of them. See constraints.py."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from posttrain.data.text_predicates import SENTENCE_END, distinct, varied, words

# words that a text of some length cannot do without, and that few other languages have
SMALL_WORDS = {
    "en": "the of and is are was to that it with for they this have not you from by be which",
    "de": "der die das und ist nicht ein eine zu mit den von auf sich auch wie sie es im dem sind",
    "fr": "le la les des est et un une dans pour que qui pas sur au avec ce il elle sont du",
    "es": "el los las es y una en por que con para no se del como su al lo más son pero",
    "it": "il gli di che è e un una per non con si del della sono come più nel anche alla ma",
    "pt": "o os as é e um uma em por que com para não se do da como mais são dos na",
    "nl": "de het een en is van dat niet op te zijn met voor er aan ook als maar bij naar",
}
SCRIPTS = {
    "ru": "[\u0400-\u04ff]",
    "zh": "[\u4e00-\u9fff]",
    "ja": "[\u3040-\u30ff\u4e00-\u9fff]",  # and some of it in kana
    "ko": "[\uac00-\ud7a3]",
    "ar": "[\u0600-\u06ff]",
    "hi": "[\u0900-\u097f]",
    "el": "[\u0370-\u03ff]",
}
KANA = {"ja": "[\u3040-\u30ff]"}
LANGUAGES = (*SMALL_WORDS, *SCRIPTS)  # by their two letters, ISO 639


def at_least_sentences(text: str, count: int) -> bool:
    """So many sentences or more, no two alike, the last one finished."""
    parts = [part for part in SENTENCE_END.split(text) if words(part)]
    return len(parts) >= count and bool(re.search(r"[.!?][\"')]*$", text.strip())) and distinct(parts)


def paragraphs(text: str, count: int) -> bool:
    """So many paragraphs with an empty line between them, no two alike."""
    parts = [part for part in re.split(r"\n\s*\n", text.strip()) if words(part)]
    return len(parts) == count and distinct(parts)


def word_times(text: str, word: str, low: int, high: int) -> bool:
    """The word from ``low`` to ``high`` times, and no more often than all others together."""
    text_words = words(text)
    times = text_words.count(word.lower())
    return low <= times <= high and 2 * times <= len(text_words)


def letter_times(text: str, letter: str, low: int, high: int) -> bool:
    """A letter, large or small, from ``low`` to ``high`` times among at least three words."""
    return len(words(text)) >= 3 and low <= text.lower().count(letter.lower()) <= high


def all_keywords(text: str, keywords: Sequence[str]) -> bool:
    """Every one of the words, and beside them at least as many others."""
    text_words = words(text)
    wanted = {word.lower() for word in keywords}
    return wanted <= set(text_words) and sum(word not in wanted for word in text_words) >= len(wanted)


def placeholders(text: str, count: int) -> bool:
    """So many different ones in square brackets, such as [address], or more."""
    return len(set(re.findall(r"\[([^\[\]\n]*\w[^\[\]\n]*)\]", text))) >= count


def titled(text: str) -> bool:
    """A title <<like this>> on the first line, and something below it."""
    first, _, rest = text.strip().partition("\n")
    title = re.fullmatch(r"<<([^<>]+)>>", first.strip())
    return title is not None and bool(words(title[1])) and bool(words(rest))


def sections(text: str, word: str, count: int) -> bool:
    """So many parts under lines ``word`` 1, ``word`` 2, ..., each with something below its line."""
    parts = re.split(rf"(?im)^\W*{re.escape(word)}\s+(\d+)\b[^\w\n]*", text.strip())
    numbers, bodies = parts[1::2], parts[2::2]
    return numbers == [str(n) for n in range(1, count + 1)] and not words(parts[0]) and distinct(bodies)


def highlights(text: str, count: int) -> bool:
    """So many different ones between asterisks, *like this* or **like this**, or more."""
    return len(set(re.findall(r"(?<!\*)\*{1,2}([^*\n]*\w[^*\n]*)\*{1,2}(?!\*)", text))) >= count


def postscript(text: str) -> bool:
    """A last paragraph that begins with P.S., and something before it."""
    before, mark, after = text.rpartition("P.S.")
    return (
        bool(mark and words(before) and words(after))
        and before.endswith("\n")
        and "\n\n" not in after.strip()
    )


def valid_json(text: str) -> bool:
    """A JSON object or list that says something, alone or in one fenced block."""
    inside = re.fullmatch(r"\s*```(?:json)?\n(.*?)\n```\s*", text, re.DOTALL)
    try:
        value = json.loads(inside[1] if inside else text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and bool(words(json.dumps(value, ensure_ascii=False)))


def language(text: str, code: str) -> bool:
    """At least five words in a language known by its script or its smallest words; see LANGUAGES.

    The words must hold more of this language's small words than of any other's.
    """
    if code not in LANGUAGES:
        raise TypeError(f"language {code!r}; there is {', '.join(LANGUAGES)}")
    text_words = words(text)
    if script := SCRIPTS.get(code):
        letters = [letter for letter in text if letter.isalpha()]
        in_script = sum(bool(re.match(script, letter)) for letter in letters)
        return (
            len(set(letters)) >= 5
            and in_script > 0.7 * len(letters)
            and bool(re.search(KANA.get(code, ""), text))
        )
    counts = {name: sum(word in small.split() for word in text_words) for name, small in SMALL_WORDS.items()}
    others = max(count for name, count in counts.items() if name != code)
    return (
        len(text_words) >= 5
        and counts[code] >= max(2, len(text_words) // 8)
        and counts[code] > others
        and varied(text_words)
    )


MORE = (
    at_least_sentences,
    paragraphs,
    word_times,
    letter_times,
    all_keywords,
    placeholders,
    titled,
    sections,
    highlights,
    postscript,
    valid_json,
    language,
)
