"""Every check fails on a figure that is wrong, passes on one that is right, and says what to do."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from posttrain.checks import (
    base_knowledge,
    calibrated,
    ends_its_answers,
    judge_agrees,
    kl_budget,
    learned_by_heart,
    learned_demonstrations,
    more_than_length,
    nearer_the_teacher,
    prefers_the_chosen,
    ranks_better_than_chance,
    reward_rose,
    same_at_the_start,
    solves_more,
    something_to_learn,
    steady,
)
from posttrain.checks.thresholds import (
    OfAlignment,
    OfBase,
    OfEvaluation,
    OfReinforcement,
    OfRewardModel,
    OfTuning,
)
from posttrain.metrics import typed
from posttrain.pipeline.finding import Finding, UserError


def flatly(check: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """The check, given metrics as one flat object."""
    return lambda metrics, *more, **others: check(typed(metrics), *more, **settings, **others)


BUDGET = flatly(kl_budget.check, thresholds=OfReinforcement())
RANKS = flatly(ranks_better_than_chance.check, thresholds=OfRewardModel())
PREFERS = flatly(prefers_the_chosen.check, thresholds=OfAlignment())
ENDS = flatly(ends_its_answers.check, thresholds=OfTuning())
BY_HEART = flatly(learned_by_heart.check, thresholds=OfTuning())
SURE = flatly(calibrated.check, thresholds=OfRewardModel())
LONGER = flatly(more_than_length.of_reward_model, thresholds=OfRewardModel())
PAID_BY_LENGTH = flatly(more_than_length.of_rewards, thresholds=OfReinforcement())
SAME = flatly(same_at_the_start.check, thresholds=OfReinforcement())
BASE = flatly(base_knowledge.check, thresholds=OfBase())
OWN = flatly(judge_agrees.on_policy, thresholds=OfEvaluation())
BY_LENGTH = {"score_length_n": 200, "label_accuracy_uneven": 0.88, "longer_chosen": 0.86}


def one_of(name: str) -> Callable[[dict[str, Any]], Finding]:
    def check(metrics: dict[str, Any]) -> Finding:
        found = {one.name: one for one in flatly(steady.check)({"steps": 20, **metrics}, OfReinforcement())}
        assert all(one.passed for other, one in found.items() if other != name)
        return found[name]

    return check


ONE = {
    "sft": (
        flatly(learned_demonstrations.check),
        {"nll_heldout": 1.0, "nll_heldout_before": 2.0},
        {"nll_heldout": 2.5},
    ),
    "rm": (
        RANKS,
        {"label_accuracy": 0.6, "label_accuracy_low": 0.55, "label_accuracy_n": 200},
        {"label_accuracy_low": 0.48},
    ),
    "aligned": (
        PREFERS,
        {"label_accuracy": 0.6, "label_accuracy_low": 0.55, "label_accuracy_n": 200},
        {"label_accuracy_low": 0.48},
    ),
    "solves": (
        flatly(solves_more.check),
        {
            "solved/base": 0.3,
            "solved/final": 0.5,
            "solved_change/final_vs_base": 0.2,
            "solved_change/final_vs_base_low": 0.1,
        },
        {"solved_change/final_vs_base_low": -0.01},
    ),
    "stayed": (
        flatly(reward_rose.check),
        {"reward_start": 0.0, "reward_final": 0.01, "steps": 60},
        {"reward_final": 0.0},
    ),
    "kl of long answers": (
        BUDGET,
        {"kl_final": 30.0, "length_final": 200.0},
        {"length_final": 100.0},
    ),
    "kl": (BUDGET, {"kl_final": 3.0}, {"kl_final": 30.0}),
    "reward": (
        flatly(reward_rose.check),
        {"reward_start": 0.0, "reward_final": 1.0, "steps": 60},
        {"reward_final": -1.0},
    ),
    "teacher": (
        flatly(nearer_the_teacher.check),
        {"kl_start": 2.0, "kl_final": 1.0, "steps": 60},
        {"kl_final": 2.5},
    ),
    "ratio": (SAME, {"ratio_start": 1.0, "kl_start": 0.0}, {"ratio_start": 1.01}),
    "reference": (SAME, {"ratio_start": 1.0, "kl_start": 0.0}, {"kl_start": 1e-4}),
    "ends": (ENDS, {"ends_heldout": 0.4, "ends_heldout_n": 100}, {"ends_heldout": 0.01}),
    "fits": (BY_HEART, {"nll_heldout": 1.0, "nll_train_final": 0.8}, {"nll_heldout": 2.0}),
    "calibrated": (
        SURE,
        {"confidence_heldout": 0.75, "label_accuracy": 0.7, "label_accuracy_high": 0.72},
        {"confidence_heldout": 0.9},
    ),
    "longer": (
        LONGER,
        {"score_length": 0.5, "score_length_low": 0.4, "score_length_high": 0.6, **BY_LENGTH},
        {"score_length": 0.85, "score_length_low": 0.8, "score_length_high": 0.9},
    ),
    "shorter": (
        LONGER,
        {"score_length": 0.5, "score_length_low": 0.4, "score_length_high": 0.6, **BY_LENGTH},
        {"score_length": -0.85, "score_length_low": -0.9, "score_length_high": -0.8, "longer_chosen": 0.14},
    ),
    "paid by length": (PAID_BY_LENGTH, {"reward_length": 0.6, "steps": 20}, {"reward_length": 0.95}),
    "entropy": (
        one_of("rl_entropy"),
        {"entropy_before_start": 2.0, "entropy_before_final": 1.0},
        {"entropy_before_final": 0.1},
    ),
    "grown": (one_of("rl_length_drift"), {"length_start": 10, "length_final": 20}, {"length_final": 31}),
    "shrunk": (one_of("rl_length_drift"), {"length_start": 10, "length_final": 4}, {"length_final": 3}),
    "clipped": (one_of("rl_clip_fraction"), {"clip_fraction_final": 0.2}, {"clip_fraction_final": 0.6}),
    "gold": (
        flatly(judge_agrees.check),
        {
            "win_rate/final_vs_sft": 0.6,
            "win_rate/final_vs_sft_low": 0.55,
            "win_rate/final_vs_sft_high": 0.65,
            "reward_win_rate/final_vs_sft": 0.8,
            "reward_win_rate/final_vs_sft_low": 0.7,
        },
        {"win_rate/final_vs_sft": 0.4, "win_rate/final_vs_sft_high": 0.45},
    ),
    "judge": (
        flatly(judge_agrees.check),
        {
            "judge_win_rate/dpo_vs_sft": 0.6,
            "judge_win_rate/dpo_vs_sft_high": 0.65,
            "reward_win_rate/dpo_vs_sft": 0.8,
            "reward_win_rate/dpo_vs_sft_low": 0.7,
        },
        {"judge_win_rate/dpo_vs_sft": 0.4, "judge_win_rate/dpo_vs_sft_high": 0.45},
    ),
    "own answers": (
        OWN,
        {"accuracy_on_policy": 0.6, "accuracy_on_policy_high": 0.65},
        {"accuracy_on_policy": 0.4, "accuracy_on_policy_high": 0.45},
    ),
    "sampler": (SAME, {"sampler_delta_max": 1e-5}, {"sampler_delta_max": 0.1}),
}


@pytest.mark.parametrize("name", ONE)
def test_a_check_tells_good_from_bad(name: str) -> None:
    check, good, worse = ONE[name]
    assert check(good).passed  # type: ignore[operator]
    failed: Finding = check({**good, **worse})  # type: ignore[operator, dict-item]
    assert not failed.passed
    assert failed.evidence
    assert failed.advice


def test_a_reward_model_that_knows_more_than_the_length_it_goes_by_passes() -> None:
    """As where long answers are the better ones, and it tells which of them are not."""
    by_length = {"score_length": 0.85, "score_length_low": 0.8, "score_length_high": 0.9, **BY_LENGTH}
    assert not LONGER(by_length).passed
    assert LONGER({**by_length, "label_accuracy_uneven": 0.97}).passed
    assert LONGER({**by_length, "longer_chosen": 0.6}).passed


def test_what_rounds_on_both_sides_is_judged_by_its_mean_difference() -> None:
    metrics = {"ratio_start": 1.0, "kl_start": 0.0, "sampler_delta_max": 0.3, "sampler_delta_mean": 0.02}
    assert SAME(metrics, compute="bfloat16").passed
    assert not SAME(metrics).passed
    assert not SAME({**metrics, "sampler_delta_mean": 0.3}, compute="bfloat16").passed


@pytest.mark.parametrize(
    "metrics", [{"facts_heldout": 0.85, "continues": 0.95}, {"facts_heldout": 0.95, "continues": 0.3}]
)
def test_a_base_that_knows_little_or_answers_already_is_stopped(metrics: dict[str, Any]) -> None:
    assert sum(not found.passed for found in BASE(metrics)) == 1
    assert all(found.passed for found in BASE({"facts_heldout": 0.95, "continues": 0.95}))


def test_what_is_not_known_stops_nobody() -> None:
    assert flatly(learned_demonstrations.check)(
        {"nll_heldout": "unknown", "nll_heldout_before": "unknown"}
    ).passed
    assert RANKS({"label_accuracy": "unknown"}).passed
    for check in (ENDS, BY_HEART, SURE, LONGER, PAID_BY_LENGTH, OWN, flatly(judge_agrees.check)):
        assert check({}).passed
    assert all(found.passed for found in flatly(steady.check)({}, OfReinforcement()))
    few = {"score_length": 1.0, "score_length_low": 0.99, "score_length_high": 1.0}
    assert LONGER({**BY_LENGTH, **few, "score_length_n": 29}).passed
    assert PAID_BY_LENGTH({"reward_length": 1.0, "steps": 9}).passed
    few = {"label_accuracy": 0.4, "label_accuracy_low": 0.2, "label_accuracy_n": 10}
    for check in (RANKS, PREFERS):
        assert check(few).passed
        assert check({"label_accuracy": "unknown"}).passed


def test_rewards_that_never_differ_and_answers_that_never_end_are_told_and_stop_nothing() -> None:
    good = {"flat_steps": 0.1, "flat_groups": 0.5, "truncated_final": 0.2}
    learned = flatly(something_to_learn.check, thresholds=OfReinforcement())
    assert all(found.passed for grouped in (True, False) for found in learned(good, grouped))
    assert all(found.passed for found in learned({}, True))
    for grouped, worse, name in (
        (False, {"flat_steps": 1.0}, "rl_reward_varies"),
        (True, {"flat_groups": 1.0}, "rl_reward_varies"),
        (True, {"truncated_final": 1.0}, "rl_answers_end"),
    ):
        failed = [found for found in learned({**good, **worse}, grouped) if not found.passed]
        assert [found.name for found in failed] == [name]
        assert not failed[0].stops
        assert "100%" in failed[0].evidence
    assert all(found.passed for found in learned({**good, "flat_steps": 1.0}, True))


def test_what_was_never_paid_otherwise_stops_a_run_of_some_steps() -> None:
    def stops(share: float, steps: int) -> bool:
        metrics = {"flat_groups": share, "steps": steps}
        return flatly(something_to_learn.check)(metrics, True, OfReinforcement())[0].stops

    assert stops(1.0, 10)
    assert not stops(0.99, 10)
    assert not stops(1.0, 9)


def test_answers_that_do_not_end_stop_a_recipe_where_enough_were_looked_at() -> None:
    assert ENDS({"ends_heldout": 0.01, "ends_heldout_n": 30}).stops
    assert not ENDS({"ends_heldout": 0.01, "ends_heldout_n": 29}).stops


def test_thresholds_are_settings_and_their_ranges_are_checked() -> None:
    metrics = {"kl_final": 12.0, "length_final": 10.0}
    assert not flatly(kl_budget.check)(metrics, OfReinforcement()).passed
    assert flatly(kl_budget.check)(metrics, OfReinforcement(kl=15.0)).passed
    assert flatly(kl_budget.check)(metrics, OfReinforcement(kl_per_token=1.5)).passed
    assert flatly(ends_its_answers.check)({"ends_heldout": 0.01}, OfTuning(ends=0.001)).passed
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(UserError, match=r"thresholds.ends is .* a share from 0 to 1"):
            OfTuning(ends=wrong)
    with pytest.raises(UserError, match=r"thresholds.kl is inf, expected a number of 0 or more"):
        OfReinforcement(kl=math.inf)
