"""The 25 verifiable instructions of IFEval (Zhou et al. 2023), under its names and with its settings.

What obeys is what the paper's table 1 says. Two things are decided here by other means: sentences end at
``.``, ``!`` or ``?``, and a language is known by its script or its smallest words (``more_checks.language``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from posttrain.data.format_checks import language as spoken
from posttrain.data.text_predicates import SENTENCE_END, words

AT_LEAST, LESS_THAN = "at least", "less than"
CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_PLACEHOLDER = re.compile(r"\[[^\[\]]*\]")
_BULLET = re.compile(r"(?m)^\s*(?:\*(?!\*)|-).*\S")
_HIGHLIGHT = re.compile(r"(\*{1,2})([^*\n]+)\1")
_WORD = re.compile(r"\w+")


def _compared(count: int, relation: str, bound: int) -> bool:
    if relation not in (AT_LEAST, LESS_THAN):
        raise TypeError(f"relation {relation!r}, expected {AT_LEAST!r} or {LESS_THAN!r}")
    return count >= bound if relation == AT_LEAST else count < bound


def _times(text: str, word: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def existence(text: str, keywords: Sequence[str]) -> bool:
    """Every keyword, in any case."""
    return all(word.lower() in text.lower() for word in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword so often."""
    return _compared(text.lower().count(keyword.lower()), relation, frequency)


def forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    """None of the words."""
    return bool(words(text)) and not any(_times(text, word) for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter so often, in any case."""
    return _compared(text.lower().count(letter.lower()), let_relation, let_frequency)


def response_language(text: str, language: str) -> bool:
    """All of it in one language, by its two letters."""
    return spoken(text, language)


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    """So many sentences."""
    count = sum(bool(words(part)) for part in SENTENCE_END.split(text))
    return _compared(count, relation, num_sentences)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """So many paragraphs between lines of three asterisks."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(parts[1:-1]) and sum(map(bool, parts)) == num_paragraphs


def number_words(text: str, num_words: int, relation: str) -> bool:
    """So many words."""
    return _compared(len(_WORD.findall(text)), relation, num_words)


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """So many paragraphs between empty lines, one of which begins with a word."""
    parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if len(parts) != num_paragraphs or not 1 <= nth_paragraph <= len(parts):
        return False
    first = _WORD.search(parts[nth_paragraph - 1])
    return first is not None and first.group().lower() == first_word.strip().lower()


def number_placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many in square brackets."""
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    """The marker at the beginning of a line, P.S. also as P. S."""
    letters = [letter for letter in postscript_marker.lower() if letter.isalpha()]
    marker = (
        r"\s?".join(rf"{letter}\." for letter in letters[:-1]) + rf"\s?{letters[-1]}\.?" if letters else ""
    )
    return bool(marker) and re.search(rf"(?m)^\s*{marker}", text.lower()) is not None


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    """Exactly so many lines that begin with ``*`` or ``-``."""
    return len(_BULLET.findall(text)) == num_bullets


def constrained_response(text: str) -> bool:
    """One of the three answers that the prompt offers."""
    return any(choice in text for choice in CHOICES)


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    """At least so many between asterisks."""
    return sum(bool(inside.strip()) for _, inside in _HIGHLIGHT.findall(text)) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many parts under lines such as Section 1."""
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


def json_format(text: str) -> bool:
    """All of it JSON, also in a fenced block."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", text, re.DOTALL | re.IGNORECASE)
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    """A title in double angular brackets."""
    return any(inside.strip() for inside in re.findall(r"<<([^<>\n]+)>>", text))


def two_responses(text: str) -> bool:
    """Two different responses between six asterisks."""
    parts = [part.strip() for part in text.split("******")]
    given = [part for part in parts if part]
    return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The request first, word for word, then the answer."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(text: str, end_phrase: str) -> bool:
    """The phrase last, and nothing after it."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    """All of it in double quotation marks."""
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """So many words in capital letters."""
    count = sum(word.isupper() for word in re.findall(r"[^\W_]+(?:[-'’][^\W_]+)*", text))
    return _compared(count, capital_relation, capital_frequency)


def english_capital(text: str) -> bool:
    """English in capital letters."""
    return text.isupper() and _english(text)


def english_lowercase(text: str) -> bool:
    """English without a capital letter."""
    return text.islower() and _english(text)


def no_comma(text: str) -> bool:
    """No comma."""
    return bool(words(text)) and "," not in text


def _english(text: str) -> bool:
    """Latin letters that are in no language known to be another one; a few words say no language for sure."""
    others = ("de", "fr", "es", "it", "pt", "nl")
    latin = all(letter.isascii() for letter in text if letter.isalpha())
    return latin and not any(spoken(text.lower(), code) for code in others)


IFEVAL: dict[str, Callable[..., bool]] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}


def checks_of(row: Mapping[str, Any]) -> Any:
    """IFEval's ``instruction_id_list`` with ``kwargs`` as checks; null settings are left out, as its files
    have one column for every setting. A value of another form is returned as it is.
    """
    names, settings = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not isinstance(settings, list) or len(names) != len(settings):
        return names
    return [
        {"check": name, **{key: value for key, value in (given or {}).items() if value is not None}}
        for name, given in zip(names, settings, strict=True)
        if given is None or isinstance(given, Mapping)
    ]
