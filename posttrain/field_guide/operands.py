"""Operands of the verifiable tasks: which sums and which words are held out of every chat stage.

Pretraining prose may hold anything but a held-out sum's result; demonstrations and reinforcement use the
training side only, held-out prompts the other side only.
"""

from __future__ import annotations

import hashlib

_WORDS = """
    stone river table chair bread apple horse mouse house plant green black white brown light night water
    paper storm cloud grass field beach ocean tower clock watch knife spoon plate glass drink sugar lemon
    grape peach tiger zebra camel sheep goose snake shark whale eagle robin flute piano drum violin coat
    shirt dress shoe scarf glove belt ring crown king queen child woman uncle aunt baby friend teacher
    doctor nurse farm barn gate fence road street bridge train plane boat ship truck wheel door window
    floor roof wall lamp candle fire smoke snow rain wind sand rock hill lake island forest tree leaf
    root seed flower rose bird nest wing frog duck goat lamb calf lion wolf bear deer hare mole fish crab
    clam milk cake soup rice corn bean plum pear melon honey salt tea jam pie meat pan pot cup bowl fork
    brush broom soap towel bed desk sofa shelf box bag book page pen ink song dance game ball kite doll
    coin gold lead iron wood
"""
SPELL_WORDS: tuple[str, ...] = tuple(_WORDS.split())


def _heldout(key: str, one_in: int) -> bool:
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % one_in == 0


def spell_heldout(word: str) -> bool:
    """Whether a word of SPELL_WORDS is kept for held-out prompts (about one in five)."""
    return _heldout(f"spell:{word}", 5)


def sum_heldout(a: int, b: int) -> bool:
    """Whether a + b is kept for held-out prompts (about one in five; the same for b + a)."""
    return _heldout(f"sum:{min(a, b)}+{max(a, b)}", 5)


def sums(heldout: bool) -> tuple[tuple[int, int], ...]:
    """Every pair of two-digit numbers whose sum has two digits, on one side of the split."""
    pairs = ((a, b) for a in range(10, 90) for b in range(10, 100 - a))
    return tuple(pair for pair in pairs if sum_heldout(*pair) == heldout)


def working(a: int, b: int) -> str:
    """The written working of a two-digit sum: units, then tens with the carry, then the result."""
    units, carry = a % 10 + b % 10, (a % 10 + b % 10) // 10
    tens = a // 10 + b // 10 + carry
    carried = " + 1" if carry else ""
    return f"{a % 10} + {b % 10} = {units}. {a // 10} + {b // 10}{carried} = {tens}. So {a + b}."
