"""Every check fails on a figure that is wrong, passes on one that is right, and says what to do."""

from typing import Any

import pytest

from posttrain.checks import (
    base_knowledge,
    kl_budget,
    learned_demonstrations,
    nearer_the_teacher,
    prefers_the_chosen,
    ranks_better_than_chance,
    reward_rose,
    same_at_the_start,
    solves_more,
    something_to_learn,
)
from posttrain.pipeline.finding import Finding

ONE = {
    "sft": (
        learned_demonstrations.check,
        {"nll_heldout": 1.0, "nll_heldout_before": 2.0},
        {"nll_heldout": 2.5},
    ),
    "rm": (
        ranks_better_than_chance.check,
        {"label_accuracy": 0.6, "label_accuracy_low": 0.55, "label_accuracy_n": 200},
        {"label_accuracy_low": 0.48},
    ),
    "aligned": (
        prefers_the_chosen.check,
        {"label_accuracy": 0.6, "label_accuracy_low": 0.55, "label_accuracy_n": 200},
        {"label_accuracy_low": 0.48},
    ),
    "solves": (
        solves_more.check,
        {
            "solved/base": 0.3,
            "solved/final": 0.5,
            "solved_change/final_vs_base": 0.2,
            "solved_change/final_vs_base_low": 0.1,
        },
        {"solved_change/final_vs_base_low": -0.01},
    ),
    "stayed": (
        reward_rose.check,
        {"reward_start": 0.0, "reward_final": 0.01, "steps": 60},
        {"reward_final": 0.0},
    ),
    "kl of long answers": (
        kl_budget.check,
        {"kl_final": 30.0, "length_final": 200.0},
        {"length_final": 100.0},
    ),
    "kl": (kl_budget.check, {"kl_final": 3.0}, {"kl_final": 30.0}),
    "reward": (
        reward_rose.check,
        {"reward_start": 0.0, "reward_final": 1.0, "steps": 60},
        {"reward_final": -1.0},
    ),
    "teacher": (
        nearer_the_teacher.check,
        {"kl_start": 2.0, "kl_final": 1.0, "steps": 60},
        {"kl_final": 2.5},
    ),
    "ratio": (same_at_the_start.check, {"ratio_start": 1.0, "kl_start": 0.0}, {"ratio_start": 1.01}),
    "reference": (same_at_the_start.check, {"ratio_start": 1.0, "kl_start": 0.0}, {"kl_start": 1e-4}),
    "sampler": (same_at_the_start.check, {"sampler_delta_max": 1e-5}, {"sampler_delta_max": 0.1}),
}


@pytest.mark.parametrize("name", ONE)
def test_a_check_tells_good_from_bad(name: str) -> None:
    check, good, worse = ONE[name]
    assert check(good).passed  # type: ignore[operator]
    failed: Finding = check({**good, **worse})  # type: ignore[operator, dict-item]
    assert not failed.passed
    assert failed.evidence
    assert failed.advice


def test_what_rounds_on_both_sides_is_judged_by_its_mean_difference() -> None:
    figures = {"ratio_start": 1.0, "kl_start": 0.0, "sampler_delta_max": 0.3, "sampler_delta_mean": 0.02}
    assert same_at_the_start.check(figures, "bfloat16").passed
    assert not same_at_the_start.check(figures).passed
    assert not same_at_the_start.check({**figures, "sampler_delta_mean": 0.3}, "bfloat16").passed


@pytest.mark.parametrize(
    "figures", [{"facts_heldout": 0.85, "continues": 0.95}, {"facts_heldout": 0.95, "continues": 0.3}]
)
def test_a_base_that_knows_little_or_answers_already_is_stopped(figures: dict[str, Any]) -> None:
    assert sum(not found.passed for found in base_knowledge.check(figures)) == 1
    assert all(found.passed for found in base_knowledge.check({"facts_heldout": 0.95, "continues": 0.95}))


def test_what_is_not_known_stops_nobody() -> None:
    assert learned_demonstrations.check({"nll_heldout": "unknown", "nll_heldout_before": "unknown"}).passed
    assert ranks_better_than_chance.check({"label_accuracy": "unknown"}).passed
    few = {"label_accuracy": 0.4, "label_accuracy_low": 0.2, "label_accuracy_n": 10}
    for check in (ranks_better_than_chance.check, prefers_the_chosen.check):
        assert check(few).passed
        assert check({"label_accuracy": "unknown"}).passed


def test_rewards_that_never_differ_and_answers_that_never_end_are_told_and_stop_nothing() -> None:
    good = {"flat_steps": 0.1, "flat_groups": 0.5, "truncated_final": 0.2}
    assert all(found.passed for grouped in (True, False) for found in something_to_learn.check(good, grouped))
    assert all(found.passed for found in something_to_learn.check({}, True))
    for grouped, worse, name in (
        (False, {"flat_steps": 1.0}, "rl_reward_varies"),
        (True, {"flat_groups": 1.0}, "rl_reward_varies"),
        (True, {"truncated_final": 1.0}, "rl_answers_end"),
    ):
        failed = [found for found in something_to_learn.check({**good, **worse}, grouped) if not found.passed]
        assert [found.name for found in failed] == [name]
        assert not failed[0].stops
        assert "100%" in failed[0].evidence
    assert all(found.passed for found in something_to_learn.check({**good, "flat_steps": 1.0}, True))
