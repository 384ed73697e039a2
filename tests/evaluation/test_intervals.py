"""Intervals that cover what they should, and say nothing about nothing."""

import math
import random

import pytest

from posttrain.evaluation.intervals import bootstrap, fisher, wilson


def test_wilson_is_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662, 0 of 20 is 0 to 0.1611
    found = wilson(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert wilson(0, 20).low == 0.0


def test_fisher_is_the_published_interval() -> None:
    """Of r = 0.5 with n = 103: z = 0.549, standard error 0.1."""
    found = fisher(0.5, 103)
    assert (found.low, found.high) == pytest.approx(
        (math.tanh(0.5493 - 0.1960), math.tanh(0.5493 + 0.1960)), abs=1e-4
    )
    assert fisher(-0.5, 103).low == pytest.approx(-found.high)
    assert fisher(1.0, 50).high == 1.0
    assert fisher(0.5, 3).n == fisher(math.nan, 100).n == 0


def test_bootstrap_covers_the_mean_about_95_times_in_100() -> None:
    rng = random.Random(0)
    covered = 0
    for trial in range(200):
        found = bootstrap([rng.gauss(1.0, 2.0) for _ in range(60)], seed=trial, resamples=400)
        covered += found.low <= 1.0 <= found.high
    assert 180 <= covered <= 199


def test_the_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    rng = random.Random(1)
    values = [rng.gauss(1.0, 2.0) for _ in range(400)]
    mean = sum(values) / len(values)
    error = math.sqrt(sum((value - mean) ** 2 for value in values)) / len(values)
    found = bootstrap(values, resamples=4000)
    assert found.value == pytest.approx(mean)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    assert (found.high + found.low) / 2 == pytest.approx(mean, abs=0.1 * error)


def test_the_same_values_give_the_same_interval() -> None:
    values = [0.1, 0.7, 0.3, 0.9]
    assert bootstrap(values) == bootstrap(values) != bootstrap(values, seed=1)


def test_nothing_counted_is_unknown() -> None:
    assert math.isnan(wilson(0, 0).value)
    assert bootstrap([]).n == fisher(0.5, 3).n == 0
