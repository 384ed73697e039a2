"""A policy has to earn more than chance, by their intervals."""

from __future__ import annotations

import pytest

from posttrain.checks import better_than_random
from posttrain.metrics import typed


@pytest.mark.parametrize(("low", "passed"), [(25.0, True), (24.0, False), (20.0, False)])
def test_intervals_must_be_apart(low: float, passed: bool) -> None:
    metrics = {
        "return/policy": 40.0,
        "return/policy_low": low,
        "return/random": 22.0,
        "return/random_high": 24.0,
    }
    found = better_than_random.check(typed(metrics))
    assert found.passed is passed
    assert found.value == 40.0
    assert found.threshold == 22.0


def test_a_rehearsal_is_not_stopped_by_it() -> None:
    """It is about what was learned, and a rehearsal learns nothing."""
    metrics = {
        "return/policy": 1.0,
        "return/policy_low": 0.9,
        "return/random": 1.0,
        "return/random_high": 1.1,
    }
    assert better_than_random.check(typed(metrics)).learning
