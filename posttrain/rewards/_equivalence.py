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
_UNIT = re.compile(r"(?P<number>[\d)}.]) +(?P<unit>[A-Za-z][A-Za-z /.²³]*)$")
_BARE_NAME = re.compile(r"\\?[A-Za-z]+(\([A-Za-z]\))?|[A-Za-z]_\{?\w\}?")
_POWER = re.compile(r"\^\s*(-?\w+(?:\.\d+)?|\((?P<inner>[^()]*)\))")
_BASE = re.compile(r"\d_\{?(\w+)")
_NUMBER = r"(?<![\w.\\])(\d+(?:\.\d+)?)"
_SCIENTIFIC = re.compile(_NUMBER + r"[eE]([+-]?\d{1,3})(?![\w.])")
_MIXED = re.compile(r"(?<![\w.\\])(\d+) (\d+)/(\d+)(?![\w.])")
_PRODUCT = re.compile(_NUMBER + r" ?\((?=[-\d.]+\))")  # the grammar reads 2(3) as the mixed number 2 3
_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")


def same(gold: str, said: str) -> bool:
    """Whether ``said`` is ``gold``: as text, as a number, or as an expression that is equal for every value
    of its variables. An equation's sides must all be the gold where the gold is none.
    """
    gold, said = _plain(gold), _plain(said)
    if not gold or not said or len(said) > LONGEST:
        return False
    if gold.casefold() == said.casefold():
        return True
    (gold, wanted), (said, given) = _unit(gold), _unit(said)
    bases = _BASE.findall(said)
    if (wanted and given and wanted != given) or (bases and bases != _BASE.findall(gold)):
        return False
    if "=" in said and "=" not in gold:
        sides = said.split("=")
        if _BARE_NAME.fullmatch(sides[0].strip()):
            sides = sides[1:]
        return all(_equal(gold, side) for side in sides)
    return _equal(gold, said)


def _plain(text: str) -> str:
    """Without the marks around an answer that are no part of it."""
    text = text.strip().strip("$").strip()
    for pair in (("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`")):
        if text.startswith(pair[0]) and text.endswith(pair[1]) and len(text) > 2:
            text = text[len(pair[0]) : -len(pair[1])].strip()
    text = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}", r" \1", text)
    text = re.sub(r"(?<!\\)\\[,;! ]|\\(?:left|right|displaystyle)\b", "", text)
    text = re.sub(r"^(?:\\\$|[$€£])", "", text.strip().rstrip(".").strip())
    for written, meant in (("\\%", "%"), ("−", "-"), (">=", r"\ge "), ("<=", r"\le ")):
        text = text.replace(written, meant)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r",? (?:or|and) (?=[-\d\\({])", ", ", text)


def _unit(text: str) -> tuple[str, str]:
    """A number and the unit behind it, which is empty where there is none. A single letter may also be a
    variable, and stays with the number.
    """
    found = _UNIT.search(text)
    if found is None or set(NO_UNITS.split()) & set(re.findall(r"[a-z]+", found["unit"].lower())):
        return text, ""
    number = text if len(found["unit"]) == 1 else text[: found.start("unit")].strip()
    return number, found["unit"].lower().rstrip(".s") or found["unit"]


def _equal(gold: str, said: str) -> bool:
    from math_verify import verify

    first, second = _parsed(gold), _parsed(said)
    if first is None or second is None:
        return False
    return bool(verify(first, second, strict=True, timeout_seconds=None))


def _parsed(text: str) -> Any:
    """What math-verify reads in it, or None."""
    from math_verify import LatexExtractionConfig, parse

    latex = _latex(text)
    if latex is None:
        return None
    _without_evaluation()
    found = parse(f"${latex}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    return found or None


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
    text = _POWER.sub(lambda found: f"^{{{found['inner'] or found[1].strip('()')}}}", text)
    return re.sub(r"(?<!\\)\*", r"\\cdot ", text)


def _word(found: re.Match[str]) -> str:
    before = found.string[: found.start()]
    if re.search(r"\\(?:begin|end|operatorname)\{$", before):
        return found[1]
    return WORDS.get(found[1].lower(), "\0")


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
    for gold, said, wanted in (("x^2 + 2x + 1", "(x + 1)^2", True), ("1/2", "0.5", True), ("2", "3", False)):
        if _equal(gold, said) is not wanted:
            raise RuntimeError(f"math-verify says that {gold} and {said} are {'not ' * wanted}the same")
