"""Annotators of constraints: worth the share of checks, nothing for an answer that a limit cut."""

from __future__ import annotations

import pytest

from posttrain.feedback.constraint_annotators import Checker

ITEM = {"checks": [{"check": "lowercase"}, {"check": "on_topic", "terms": ["cat"]}]}


@pytest.mark.parametrize(
    ("response", "ended", "facts", "worth"),
    [
        ("a cat sat", True, True, 1.0),
        ("a dog sat", True, True, 0.5),
        ("a dog sat", True, False, 1.0),
        ("A dog sat", True, False, 0.0),
        ("a cat sat", False, True, 0.0),
    ],
)
def test_an_answer_is_worth_what_it_obeys(response: str, ended: bool, facts: bool, worth: float) -> None:
    assert Checker("plain", temperature=0.1).utility(ITEM, response, ended, facts=facts) == worth


def test_who_loves_length_counts_words() -> None:
    fond = Checker("fond", temperature=0.1, per_word=0.5)
    assert fond.utility(ITEM, "a cat sat", True) == pytest.approx(2.5)
