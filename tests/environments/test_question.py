"""An endless deck without a place to lose."""

from __future__ import annotations

import pytest

from posttrain.environments.question import Deck, Question

PROMPTS = [{"id": n, "prompt": [{"role": "user", "content": str(n)}]} for n in range(7)]


def asked(question: Question, first: int, last: int) -> list[int]:
    return [question.reset(place).prompt["id"] for place in range(first, last)]


def test_every_prompt_comes_once_before_any_comes_twice() -> None:
    deck = Question(PROMPTS, seed=3)
    assert sorted(asked(deck, 0, 7)) == sorted(asked(deck, 7, 14)) == list(range(7))
    assert asked(deck, 0, 7) != asked(deck, 7, 14)
    assert asked(deck, 0, 7) != asked(Question(PROMPTS, seed=4), 0, 7)


def test_a_place_gives_the_same_prompt_whatever_was_asked_before() -> None:
    assert asked(Question(PROMPTS, seed=3), 9, 14) == asked(Question(PROMPTS, seed=3), 0, 14)[9:]


def test_an_answer_ends_it_and_the_number_finds_the_prompt() -> None:
    observation = Question(PROMPTS).reset(5)
    assert PROMPTS[observation.number] is observation.prompt
    step = Question(PROMPTS).step("anything")
    assert (step.done, step.observation, step.reward) == (True, None, 0.0)


def test_a_deck_deals_the_numbers_of_the_prompts() -> None:
    cards = [Deck(len(PROMPTS), seed=3).card(place) for place in range(14)]
    assert cards == asked(Question(PROMPTS, seed=3), 0, 14)


def test_no_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="no prompts"):
        Question([])
