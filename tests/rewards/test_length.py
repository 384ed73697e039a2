"""Lengths inside the bounds are paid whole, and less over the margin beyond them."""

from __future__ import annotations

import pytest

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.length import Length
from tests.rewards.adversarial import episode


def paid(source: Length, *tokens: int, ended: bool = True) -> list[float]:
    """For answers of so many tokens before the end of the turn."""
    with source.open(Inputs({}), Machine()) as scorer:
        rewards = scorer.score([episode({}, "", ended, tokens=n + ended) for n in tokens])
    assert rewards.scored.all()
    assert rewards.parts["length"].tolist() == rewards.values.tolist()
    return list(rewards.values.tolist())


def test_inside_the_bounds_all_is_paid_and_less_beyond_them() -> None:
    source = Length(shortest=10, longest=20, margin=5)
    assert paid(source, 10, 15, 20) == [1, 1, 1]
    assert paid(source, 9, 8, 5, 4, 0) == pytest.approx([0.8, 0.6, 0, 0, 0])
    assert paid(source, 21, 24, 25, 99) == pytest.approx([0.8, 0.2, 0, 0])


def test_it_is_the_soft_punishment_of_dapo_plus_one() -> None:
    """Yu et al. 2025, equation 13, with L_max = 100 and L_cache = 40."""
    longest, cache = 100, 40
    for tokens in range(0, 130, 7):
        over = min(max(tokens - (longest - cache), 0) / cache, 1)
        assert paid(Length(longest=longest - cache, margin=cache), tokens)[0] == pytest.approx(1 - over)


def test_a_cut_answer_earns_nothing() -> None:
    assert paid(Length(), 10, ended=False) == [0]


def test_bounds_are_checked() -> None:
    for given in ({"shortest": 5, "longest": 4}, {"shortest": -1}, {"margin": 0}):
        with pytest.raises(UserError, match="expected 0 <= shortest <= longest"):
            Length(**given)
