"""An endless order of prompts without a position to lose."""

from __future__ import annotations

from posttrain.rollouts.prompt_order import PromptOrder


def asked(order: PromptOrder, first: int, last: int) -> list[int]:
    return [order.at(place) for place in range(first, last)]


def test_every_prompt_comes_once_before_any_comes_twice() -> None:
    order = PromptOrder(7, seed=3)
    assert sorted(asked(order, 0, 7)) == sorted(asked(order, 7, 14)) == list(range(7))
    assert asked(order, 0, 7) != asked(order, 7, 14)
    assert asked(order, 0, 7) != asked(PromptOrder(7, seed=4), 0, 7)


def test_a_place_gives_the_same_prompt_whatever_was_asked_before() -> None:
    assert asked(PromptOrder(7, seed=3), 9, 14) == asked(PromptOrder(7, seed=3), 0, 14)[9:]
