"""The verifiable reward of a user's own problems: numbers and words, without another package."""

from __future__ import annotations

import sys
from fractions import Fraction

import pytest

from posttrain.rewards.base import Episode
from posttrain.rewards.final_answer import FinalAnswer, is_stated, number
from tests.rewards.sentences import NOT_SAID, SENTENCES

RIGHT = [
    ("16", "Carla has 14 shells. Finn gives Carla 2 more, which means a total of 14 + 2 = 16 shells now."),
    ("16", "16"),
    ("16", "The answer is 16."),
    ("16", "14 + 2 = 16"),
    ("1,250", "So the rent is $1250."),
    ("1250", "So the rent is $1,250.00."),
    ("-3", "The temperature falls to -3 degrees."),
    ("3/4", "She eats 0.75 of it."),
    ("3/4", r"That leaves \boxed{\frac{3}{4}}"),
    ("0.5", "<think>Is it a third?</think> The probability is 1/2."),
    ("25%", "The share is 25%."),
    ("25%", "The share is 0.25"),
    ("He pays 3 and 4.\n#### 7", "3 + 4 = 7"),
    ("enots", "stone has 5 letters: enots"),
    ("Enots", "Reversed, the word is enots."),
    ("20", "The price went up by 20%."),
    ("1, 2, 3", "The numbers are 1,2,3."),
    ("B", "The answer is (B)."),
    ("New York", "The largest city of the US is New York."),
]
WRONG = [
    ("16", "Carla has 14 shells.\nThe answer is 14."),
    ("16", "It is not 16."),
    ("16", "16 thousand"),
    ("16", "16 or 17"),
    ("16", ""),
    ("16", "sixteen"),
    ("3", "-3"),
    ("25%", "25"),
    ("1/3", "0.33"),
    ("16", "16 shells are too many, so there are 15 shells."),
    ("enots", "stone"),
    ("New York", "York"),
    ("1/0", "1"),
]


@pytest.mark.parametrize(("answer", "response"), RIGHT)
def test_right_answers_are_paid(answer: str, response: str) -> None:
    assert is_stated(answer, response)


@pytest.mark.parametrize(("answer", "response"), WRONG)
def test_wrong_answers_are_not(answer: str, response: str) -> None:
    assert not is_stated(answer, response)


def test_numbers() -> None:
    assert number("2 1/2 cups") == Fraction(5, 2)
    assert number("12,5") is None, "a list or a decimal comma: not decided here"
    assert number("9" * 100) is None
    assert number("x") is None


def test_most_sentences_that_state_a_number_are_read() -> None:
    numbers = [(answer, sentence) for answer, sentence in SENTENCES if number(answer) is not None]
    missed = [pair for pair in numbers if not is_stated(*pair)]
    assert len(numbers) >= 50
    assert len(missed) <= len(numbers) // 20, missed
    assert not [pair for pair in NOT_SAID if is_stated(*pair)]


def test_scored_without_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    episodes = [
        Episode(prompt=row, response=text, ids=[1], mask=[True], logprobs=[0.0], ended=ended, version=0)
        for row, text, ended in [
            ({"answer": 16}, "It is 16.", True),
            ({"answer": "16"}, "It is 16.", False),
            ({"answer": "16"}, "It is 15.", True),
            ({}, "It is 16.", True),
        ]
    ]
    with FinalAnswer().open(None, None) as scorer:  # type: ignore[arg-type]
        rewards = scorer.score(episodes)
    assert rewards.values.tolist() == [1, 0, 0, 0]
    assert rewards.scored.tolist() == [True, True, True, False]
    assert FinalAnswer().lacks({}) == "answer"
