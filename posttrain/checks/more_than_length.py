"""Whether a reward is anything but the length of an answer: of a reward model, and of a run's rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.checks.thresholds import OfReinforcement, OfRewardModel
from posttrain.pipeline.finding import Finding

ENOUGH = 30  # comparisons under which an interval is too wide to stop a recipe
STEPS = 10  # fewer say nothing


def of_reward_model(figures: Mapping[str, Any], thresholds: OfRewardModel) -> Finding:
    """Reads ``prefers_longer`` with its interval, the share of held-out comparisons of answers of unequal
    length in which the longer one scores higher, and ``label_control/longer``, that in which people preferred
    it. Fails where the whole interval is above ``length``, or below 1 less it.
    """
    share = figures.get("prefers_longer", "unknown")
    low, high = float(figures.get("prefers_longer_low", 0.0)), float(figures.get("prefers_longer_high", 1.0))
    count, labels = int(figures.get("prefers_longer_n", 0)), figures.get("label_control/longer", "unknown")
    known = isinstance(share, int | float) and count >= ENOUGH
    alone = low > thresholds.length or high < 1 - thresholds.length
    evidence = f"fewer than {ENOUGH} held-out comparisons of answers of unequal length: not known"
    if known:
        people = f", people in {labels:.1%}" if isinstance(labels, int | float) else ""
        evidence = f"it prefers the longer answer in {share:.1%} of {count} comparisons{people}"
    return Finding(
        name="rm_more_than_length",
        value=share,
        threshold=thresholds.length,
        passed=not known or not alone,
        evidence=evidence,
        advice="a policy would learn to write long, or short, and nothing else: give comparisons of answers "
        "about as long as each other, or look whether annotators went by length",
        learning=True,
    )


def of_rewards(figures: Mapping[str, Any], thresholds: OfReinforcement) -> Finding:
    """Reads ``reward_length``, the mean correlation of reward and length in a batch. A reward for short
    answers is not found: verifiers pay nothing for what a limit cut, which looks the same.
    """
    value, steps = float(figures.get("reward_length", 0.0)), int(figures.get("steps", 0))
    return Finding(
        name="rl_more_than_length",
        value=value,
        threshold=thresholds.length_correlation,
        passed=value < thresholds.length_correlation or steps < STEPS,
        evidence=f"reward and length of an answer have a correlation of {value:.2f}",
        advice="the reward pays for length: give another rl.reward, or a reward model of comparisons in "
        "which length does not decide",
        learning=True,
    )
