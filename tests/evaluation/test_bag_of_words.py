"""Words alone: what counts of words can say of unseen answers, and what they cannot."""

from __future__ import annotations

import random
from typing import Any

from posttrain.evaluation.bag_of_words import bag_of_words


def comparison(prompt: int, good: str, bad: str) -> dict[str, Any]:
    said = [[{"role": "assistant", "content": text}] for text in (good, bad)]
    asked = [{"role": "user", "content": f"question {prompt}"}]
    return {"prompt": asked, "chosen": said[0], "rejected": said[1], "confidence": 0.9}


def accuracy(rows: list[dict[str, Any]], pairs: list[tuple[str, str]]) -> float:
    scores = bag_of_words(rows, [{"a": good, "b": bad} for good, bad in pairs])
    return sum(a > b for a, b in scores) / len(scores)


def test_a_word_that_is_liked_is_found_among_others() -> None:
    rng = random.Random(3)
    noise = ["red", "green", "blue", "cold", "warm", "slow"]

    def text(word: str) -> str:
        words = [word, *rng.sample(noise, 3)]
        rng.shuffle(words)
        return " ".join(words).capitalize() + "."

    rows = [comparison(n, text("thanks"), text("obviously")) for n in range(60)]
    assert accuracy(rows, [(text("thanks"), text("obviously")) for _ in range(40)]) == 1.0


def test_what_depends_on_the_prompt_is_not_in_the_words() -> None:
    """Each answer is right for one prompt and wrong for another, so no word is better than another."""
    rows = []
    for number in range(60):
        words = ("owl", "cat") if number % 2 else ("cat", "owl")
        rows.append(comparison(number, f"The {words[0]}.", f"The {words[1]}."))
    found = accuracy(rows, [("The owl.", "The cat."), ("The cat.", "The owl.")])
    assert found <= 0.5


def test_nothing_to_learn_from_says_nothing() -> None:
    assert bag_of_words([], [{"a": "x", "b": "y"}]) == [(0.0, 0.0)]
