"""Whether two answers to a question of mathematics are the same. Runs in a worker that can be killed.

Text becomes mathematics only by math-verify's grammar of LaTeX (Kydlíček et al. 2025). Nothing here evaluates
text as Python: sympy's own parser, which does, is replaced by one that reads digits.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

LONGEST = 400  # characters of an answer
# Plain notation that is turned into LaTeX. Any other word makes an answer text, not mathematics.
WORDS = {
    **{name: rf"\{name} " for name in ("sin", "cos", "tan", "log", "ln", "exp", "pi")},
    "sqrt": r"\sqrt",
    "inf": r"\infty ",
    "infinity": r"\infty ",
}
# A unit may be left out; these words are none, they change the number or take it back.
NO_UNITS = (
    "pi sqrt inf infinity percent hundred thousand million billion trillion dozen half halves third thirds "
    "quarter quarters tenth tenths hundredth hundredths thousandth thousandths or and squared cubed times "
    "plus minus over divided by mod modulo factorial double twice triple less more than below under above "
    "about not no is was wrong incorrect false if but to"
)
PLAIN = {  # how it is written, and what it means
    "\\%": "%",
    "−": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "÷": "/",
    "π": r"\pi ",
    "∞": r"\infty ",
    "°": r"^\circ",
    ">=": r"\ge ",
    "≥": r"\ge ",
    "<=": r"\le ",
    "≤": r"\le ",
    "≠": r"\neq ",
    "\\lt ": "<",
    "\\gt ": ">",
    ";": ",",
}
MOST_ITEMS = 12  # of a list that is compared in any order
_RELATION = re.compile(r"[=<>]|\\(?:in|neq?|le|ge)\b")
_EQUATION = re.compile(r"(?:(?<![<>!\\])|(?<=[\d)}]!))=")  # 5!=120 is one, x!=4 is none
# what an equation gives a value: x, f(x), |AB|, x_{1}, S_{MBCN}:S, \frac{NO}{BO}
_NAME = re.compile(r"(?:\\frac|_\{?\w+\}?|[A-Za-z|{}():' ])++=(?!.*=)")
_ARRAY = re.compile(r"[\[(]?\s*\\begin\{array\}\s*\{[lcr| ]*\}(.*?)\\end\{array\}\s*[\])]?")
_SPACED = re.compile(r"-?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_UNIT = re.compile(r"(?P<number>[\d)}.]) +(?P<unit>[A-Za-z][A-Za-z /.²³]*)$")
_BARE_NAME = re.compile(r"\((?:[A-Za-z], ?)+[A-Za-z]\)|\\?[A-Za-z]+(\([A-Za-z]\))?|[A-Za-z]_\{?\w\}?")
_POWER = re.compile(r"\^\s*(-?\w+(?:\.\d+)?|\((?P<inner>[^()]*)\))")
_BASE = re.compile(r"\d_\{?(\w+)")
_NUMBER = r"(?<![\w.\\])(\d+(?:\.\d+)?)"
_SCIENTIFIC = re.compile(_NUMBER + r"[eE]([+-]?\d{1,3})(?![\w.])")
_MIXED = re.compile(r"(?<![\w.\\])(\d+) (\d+)/(\d+)(?![\w.])")
_PRODUCT = re.compile(_NUMBER + r" ?\((?=[-\d.]+\))")  # the grammar reads 2(3) as the mixed number 2 3
_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")


def same(gold: str, answer: str) -> bool:
    """Whether ``answer`` equals ``gold``: as text, as a number, as an expression that is equal for all values
    of its variables, or as a list of these in any order.

    Where the gold is no equation and the answer is one, all sides must equal the gold.
    """
    gold, answer = plain(gold), plain(answer)
    if not gold or not answer or len(answer) > LONGEST:
        return False
    if gold.casefold() == answer.casefold():
        return True
    (gold, wanted), (answer, given) = _unit(gold), _unit(answer)
    bases = _BASE.findall(answer)
    if (wanted and given and wanted != given) or (bases and bases != _BASE.findall(gold)):
        return False
    gold, answer = _points(gold, answer), _points(answer, gold)
    if r"\in " in answer and r"\in " not in gold:
        answer = answer.partition(r"\in ")[2]
    golds, says = _items(gold), _items(answer)
    if len(golds) == len(says) > 1 and len(golds) <= MOST_ITEMS:
        left = list(says)
        for item in golds:
            match = next((other for other in left if _same_item(item, other)), None)
            if match is None:
                break
            left.remove(match)
        else:
            return True
    return _same_item(gold, answer)


def _same_item(gold: str, answer: str) -> bool:
    if "=" in gold and not _RELATION.search(answer) and (named := _NAME.match(gold)):
        gold = gold[named.end() :]
    if _EQUATION.search(answer) and not _EQUATION.search(gold):
        sides = _EQUATION.split(answer)
        if _BARE_NAME.fullmatch(sides[0].strip()):
            sides = sides[1:]
        return all(_equal(gold, side) for side in sides)
    return _equal(gold, answer)


def _items(text: str) -> list[str]:
    """What commas part that stand in no brackets; the braces of a set are left out."""
    braces = re.fullmatch(r"\\?\{(.*[^\\])\\?\}", text)
    text = braces[1] if braces and "}" not in braces[1].replace("\\}", "") else text
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    items, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items if item.strip()]


def _points(text: str, other: str) -> str:
    """A decimal comma as a point, where the other answer has a point."""
    comma = re.fullmatch(r"-?(?:\d+,\d{1,2}|0,\d+|\d{4,},\d+)", text)
    return text.replace(",", ".") if comma and re.fullmatch(r"-?\d+\.\d+", other) else text


def readable(text: str) -> bool:
    """Whether it is all mathematics, but for a unit."""
    if len(text) > LONGEST:
        return False
    text = _unit(plain(text))[0]
    return bool(text) and _latex(text) is not None


def plain(text: str) -> str:
    """Without the marks around an answer that are no part of it."""
    text = re.sub(r"\s+", " ", text).strip().strip("$").strip()
    for pair in (("**", "**"), ("`", "`")):
        if text.startswith(pair[0]) and text.endswith(pair[1]) and len(text) > 2:
            text = text[len(pair[0]) : -len(pair[1])].strip()
    if "=" in text and ";" in text and "," in text:  # p=5,q=2;p=7,q=2: two pairs
        groups = [re.sub(r"(?:^|,)\s*\w+\s*=\s*", ", ", group).strip(", ") for group in text.split(";")]
        text = ", ".join(f"({group})" for group in groups)
    text = re.sub(r"(?<=\d)\s*(?:\{\s*,\s*\}|,\\!)\s*(?=\d{3})", "", text)
    text = re.sub(r"(?<=\d) x (?=[\d$])", r"\\times ", text)
    text = re.sub(r"^\\boxed\{(.*)\}$", r"\1", text)
    text = re.sub(r"\\(?:text|textnormal|textit|mathrm|textbf|mathbf|mbox)\s*\{([^{}]*)\}", r" \1", text)
    text = re.sub(
        r"(?<!\\)\\[,;! ]|\\(?:left|right|displaystyle)\b|\\q?quad|(?<!\\)\\[()]|(?<!\\)\$", " ", text
    )
    text = re.sub(r"^(?:\\\$|[$€£])", "", text.strip().rstrip(".").strip())
    text = re.sub(r"(?<![\d)}])\s*!=|(?<=\s)!=", r"\\neq ", text)  # 5!=120 is a factorial
    for written, meant in PLAIN.items():
        text = text.replace(written, meant)
    text = _ARRAY.sub(r"\\begin{pmatrix}\1\\end{pmatrix}", text)
    text = re.sub(r"(?<=\d) ?(?:[€£]|[a-z]{1,2}[²³])$", "", text)
    text = re.sub(r"([(\[] ?-?\d+),(?=-?\d+ ?[)\]])", r"\1, ", text)  # a pair, no thousands
    text = re.sub(r"\s*(?:%|per ?cent(?:age)?\b|\bpct\b)", "%", text)
    text = re.sub(r"(?<=\d) (?=\d{3}(?!\d))(?<![/\d]\d{4} )", "", text) if _SPACED.fullmatch(text) else text
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"(?<=[\d)\]}]),? ?(?:or|and) ?(?=[-\d\\({]|[A-Za-z](?:\(\w\))? ?=)", ", ", text)
    return re.sub(r",? (?:or|and) (?=[-\d\\({])", ", ", text)


def _unit(text: str) -> tuple[str, str]:
    """A number and its unit, empty without one. A single letter may be a variable, so it stays
    in the number.
    """
    match = _UNIT.search(text)
    if match is None or set(NO_UNITS.split()) & set(re.findall(r"[a-z]+", match["unit"].lower())):
        return text, ""
    number = text if len(match["unit"]) == 1 else text[: match.start("unit")].strip()
    return number, match["unit"].lower().rstrip(".s") or match["unit"]


def _equal(gold: str, answer: str) -> bool:
    from math_verify import verify

    first, second = _parsed(gold), _parsed(answer)
    if first is None or second is None:
        return False
    return bool(verify(first, second, strict=True, timeout_seconds=None))


def _parsed(text: str) -> Any:
    """The expression that math-verify parses from a text, or None."""
    from math_verify import LatexExtractionConfig, parse

    latex = _latex(text)
    if latex is None:
        return None
    _without_evaluation()
    parsed = parse(f"${latex}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    return parsed or None


def _latex(text: str) -> str | None:
    """Plain notation as LaTeX; None for what is no mathematics."""
    if re.search(r"__|[\"'`;@#?]|\\(?:def|input|write|csname)\b", text):
        return None
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = _SCIENTIFIC.sub(r"\1\\cdot 10^{\2}", text)
    text = _MIXED.sub(r"(\1+\\frac{\2}{\3})", text)
    text = _PRODUCT.sub(r"\1\\cdot (", text)
    text = re.sub(r"(?<![\\A-Za-z])([A-Za-z]{2,})", _word, text)
    if "\0" in text:
        return None
    text = text.replace("**", "^").replace("%", r"\%")
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _POWER.sub(lambda match: f"^{{{match['inner'] or match[1].strip('()')}}}", text)
    return re.sub(r"(?<!\\)\*", r"\\cdot ", text)


def _word(match: re.Match[str]) -> str:
    before = match.string[: match.start()]
    if re.search(r"\\(?:begin|end|operatorname)\{$", before):
        return match[1]
    return WORDS.get(match[1].lower(), "\0")


@cache
def _without_evaluation() -> None:
    """sympy turns text into objects by running it, and math-verify's grammar leaves its numbers to that. Here
    digits are read as digits, and anything else is refused, whoever asks.
    """
    import logging

    import latex2sympy2_extended.latex2sympy2 as grammar
    import math_verify.parser as extraction
    import sympy.physics.units  # noqa: F401  (simplify imports it, and it reads names as text while it loads)
    from sympy import Float, Integer
    from sympy.parsing import sympy_parser

    def digits(text: Any, *given: Any, **named: Any) -> Any:
        if isinstance(text, str) and re.fullmatch(r"[+-]?\d{1,999}", text, re.ASCII):
            return Integer(int(text))
        if isinstance(text, str) and re.fullmatch(r"[+-]?(?:\d+\.\d*|\.\d+)", text, re.ASCII):
            return Float(text)
        raise ValueError("text is not evaluated here")

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of time limits that the worker keeps
    for module in (extraction, grammar, sympy_parser):
        module.parse_expr = digits  # type: ignore[attr-defined]
    sympy_parser.eval_expr = digits


def prepare() -> None:
    """Imports what a call needs. Raises ImportError where math-verify is not installed, RuntimeError where it
    does not know equal from different.
    """
    _without_evaluation()
    for gold, answer, wanted in (
        ("x^2 + 2x + 1", "(x + 1)^2", True),
        ("1/2", "0.5", True),
        ("2", "3", False),
    ):
        if _equal(gold, answer) is not wanted:
            raise RuntimeError(f"math-verify says that {gold} and {answer} are {'not ' * wanted}the same")
