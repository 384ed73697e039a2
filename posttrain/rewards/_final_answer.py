"""Where an answer says its final answer: boxes, marks, else the last formula or number of its sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

from posttrain.rewards._equivalence import readable

LONGEST_ENDING = 4000  # characters of prose that are looked at
SHORT = 60  # characters; a line that short, and alone, is compared whole where it is all mathematics
_SAYS = re.compile(r"\banswer(?:\s+is|\s*[:=])\s*:?\s*", re.IGNORECASE)
_FINALLY = re.compile(r"\bfinal answer is\s*:?\s*", re.IGNORECASE)
_END = re.compile(r"\n|[.!?](?=\s|$)")
_STOPS = re.compile(r"(?:[. *]|(?<!\d)!)+$")
_INNER_END = re.compile(r"\n|[.!?:]\s+(?=\S)")
_CHAT = re.compile(r"<\|[\w ]*\|>.*", re.DOTALL)
_HOPE = re.compile(r"\bI hope (?:it|this) (?:is correct|helps)[.!]?", re.IGNORECASE)
_DISPLAY = re.compile(r"\\\[(.+?)\\\]|\$\$(.+?)\$\$", re.DOTALL)
_BROKEN = re.compile(r"(?:(?<![$\\])\$(?!\$)|\\\()[ \t]*\n")  # mathematics within a line that the line ends
_COPULA = re.compile(
    r"\b(?:is|are|was|were|be|equals?|becomes|gives|get|makes|totals|leaves|i\.e\.)\b:?|[≈:]", re.IGNORECASE
)
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?!\d)|\d+)(?:\.\d+|,\d{1,2}(?![\d,]))?|\.\d+"
_NUMBER = rf"(?<![\w.^])[-−]?[$€£]?(?:{_DIGITS})(?:[eE][+-]?\d+|(?: \d+)?/\d+)?"
_TOKEN = re.compile(
    r"(?<!\\)\\\((?P<inline>[^\n]+?)\\\)"
    r"|(?<!\\)\$(?P<dollars>(?:\\\$|[^$\n])+)(?<!\\)\$"
    r"|(?P<several>[(\[{](?=[-−., ]*+\d)[-−\d.,/ ]++[)\]}])"
    rf"|(?P<relation>\b[A-Za-z] ?(?:[<>]=?|!=|[≤≥≠]) ?{_NUMBER})"
    rf"|(?P<number>{_NUMBER})"
)
_PERCENT = re.compile(r"\s*(?:\\?%|per ?cent(?:age)?\b|pct\b)", re.IGNORECASE)
_JOINS = re.compile(r"\s*(?:,?\s*(?:and|or)|,|to|through|[-–])\s*")
# What takes a number back, before or behind it, or is a program; below, what makes it another number.
_DENIED = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|wrong|incorrect|false|rather|\w+n['’]t|lambda|return|print)\b",
    re.IGNORECASE,
)
_BOUND = re.compile(r"\b(?:than|minus|plus|maybe|perhaps|or)\s*$", re.IGNORECASE)
_SCALED = re.compile(
    r"\s*(?:hundred|thousand|million|billion|trillion|dozen|hal(?:f|ves)|third|quarter|tenth|hundredth|thousandth"
    r"|squared|cubed|factorial|times|mod|or|to|[-−+*/^!±_])\w*",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,;:]\s|\b(?:so|but|hence|thus|therefore|then|because|it['’]s)\b", re.IGNORECASE)
_NAMED = re.compile(r"\b[A-Za-z](?:_\{?\w+\}?)?(?:\(\w\))?\s*(?:=|\\in)\s*$")
_BETWEEN_BOXES = re.compile(r"\W*(?:(?:[\w()]+\s+){0,5}(?:and|or)\b(?:\s+\w+){0,5}\W*)?")


def final(text: str, gold: str = "") -> str:
    """The final answer of a text, or empty; see MathAnswer. ``gold`` only tells whether to look
    for a number.
    """
    text = _visible(text)
    if (answer := boxed(text)) is not None:
        later = _FINALLY.split(text[text.rfind("\\boxed{") :])
        return (_answer_in(later[-1], gold) if len(later) > 1 else "") or answer.strip()
    if "</answer>" in text:
        inside = text.rpartition("</answer>")[0].rpartition("<answer>")[2].strip()
        return (boxed(inside) or inside).strip()
    if "####" in text:
        return text.rpartition("####")[2].strip().partition("\n")[0].strip()
    if _BROKEN.search(text):
        return ""
    text = text.rstrip()[-LONGEST_ENDING:]
    text = _DISPLAY.sub(lambda match: "$" + " ".join((match[1] or match[2]).split()) + "$", text)
    if says := list(_SAYS.finditer(text)):
        return _answer_in(text[says[-1].end() :], gold)
    line = text.strip()
    if not _INNER_END.search(line) and len(line) <= SHORT and readable(line):
        return line.lstrip("= ").rstrip(". ")
    return _of_sentences(line, gold)


def _answer_in(text: str, gold: str) -> str:
    """The final answer in the sentence with which ``text`` begins."""
    rest = text.strip()
    end = _END.search(rest)
    return _of_sentences((rest[: end.start()] if end else rest).strip(" *"), gold)


def boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{}``, joined by commas with those before it where only commas, "and"
    and the like are between them; None without a closed one.
    """
    boxes = list(_boxes(text))
    if not boxes or text.rfind("\\boxed{") > boxes[-1][0]:
        return None
    joined = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if not _joined(text[box[1] : joined[0][0]]):
            break
        joined.insert(0, box)
    inside = [text[start + len("\\boxed{") : end - 1].strip() for start, end in joined]
    return ", ".join(dict.fromkeys(inside))


def _boxes(text: str) -> Iterator[tuple[int, int]]:
    start = text.find("\\boxed{")
    while start >= 0:
        depth, end = 0, -1
        for index in range(start + len("\\boxed"), len(text)):
            depth += {"{": 1, "}": -1}.get(text[index], 0)
            if depth == 0:
                end = index + 1
                break
        if end < 0:
            return
        yield start, end
        start = text.find("\\boxed{", end)


def _joined(between: str) -> bool:
    if len(between) > 4 * SHORT:
        return False
    between = re.sub(r"\\text\w*\s*\{([^{}]*)\}", r" \1 ", between)
    between = re.sub(r"\\q?quad|\\[()\[\],;! ]|\$", " ", between)
    between = _NAMED.sub("", between.rstrip())
    plain = len(between) <= SHORT and not re.search(r"[.!?:]\s|\n\s*\n", between)
    return plain and not _DENIED.search(between) and bool(_BETWEEN_BOXES.fullmatch(between.strip()))


def _visible(text: str) -> str:
    """Without what was thought before, and without what a chat template or a habit adds."""
    after = text.rpartition("</think>")[2]
    text = after if after.strip() else text
    return _HOPE.sub("", _CHAT.sub("", text))


def _of_sentences(text: str, gold: str) -> str:
    """The final answer of prose: of its last sentence that has one."""
    counts = any(character.isdigit() for character in gold)
    if readable(text) and (not counts or re.search(r"\d|\\", text)):
        return text.lstrip("= ").rstrip(". ")
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]
    for sentence in reversed(sentences):
        if counts and not re.search(r"\d", sentence):
            continue
        if sentence.endswith("?"):
            continue
        return _of_sentence(_STOPS.sub("", sentence), counts)
    return ""


def _of_sentence(sentence: str, counts: bool) -> str:
    tokens = [match for match in _TOKEN.finditer(sentence) if _is_formula(match)]
    if counts:
        tokens = [match for match in tokens if re.search(r"\d", match[0])]
    copulas = [match for match in _COPULA.finditer(sentence) if not _within(match, tokens)]
    for copula in copulas[-1:]:
        tail = sentence[copula.end() :].strip(" *")
        if readable(tail) and (not counts or re.search(r"\d", tail)):
            return "" if _denied(sentence, copula.start(), len(sentence)) else tail
        if not counts and not tokens:
            return tail
    if not tokens:
        return "" if counts else sentence
    run = [tokens[-1]]
    for token in reversed(tokens[:-1]):
        if not _JOINS.fullmatch(sentence[token.end() : run[0].start()]):
            break
        run.insert(0, token)
    first, last = run[0].start(), run[-1].end()
    percent = _PERCENT.match(sentence, last)
    if _denied(sentence, first, last) or _BOUND.search(sentence[:first]) or _SCALED.match(sentence, last):
        return ""
    answer = ", ".join(next(part for part in match.groups() if part is not None).strip() for match in run)
    return answer + "%" * bool(percent)


def _is_formula(match: re.Match[str]) -> bool:
    """Whether a match is a formula and no text between two currency signs."""
    return match["dollars"] is None or readable(match["dollars"])


def _within(match: re.Match[str], tokens: list[re.Match[str]]) -> bool:
    return any(token.start() <= match.start() < token.end() for token in tokens)


def denied(text: str) -> bool:
    """Whether a word takes back what the last sentence says."""
    return bool(_DENIED.search(re.split(r"(?<=[.!?])\s+|\n+", text.strip())[-1]))


def _denied(sentence: str, start: int, end: int) -> bool:
    """Whether the clause before the match, or the text after it, negates it."""
    clauses = [match.end() for match in _CLAUSE.finditer(sentence, 0, start)]
    clauses += [match.end() for match in _TOKEN.finditer(sentence, 0, start)]
    before = sentence[max(clauses, default=0) : start]
    return bool(_DENIED.search(before) or _DENIED.search(sentence[end:]))
