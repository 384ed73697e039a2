"""A policy has to earn more than chance, by their intervals."""

from __future__ import annotations

import pytest

from posttrain.checks import better_than_random


@pytest.mark.parametrize(("low", "passed"), [(25.0, True), (24.0, False), (20.0, False)])
def test_intervals_must_be_apart(low: float, passed: bool) -> None:
    figures = {
        "return/policy": 40.0,
        "return/policy_low": low,
        "return/random": 22.0,
        "return/random_high": 24.0,
    }
    found = better_than_random.check(figures)
    assert found.passed is passed
    assert found.value == 40.0
    assert found.threshold == 22.0
