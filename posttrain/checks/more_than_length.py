"""Whether a reward is anything but the length of an answer: of a reward model, and of a run's rewards."""

from __future__ import annotations

from posttrain.checks.thresholds import OfReinforcement, OfRewardModel
from posttrain.metrics import Metrics, number, read
from posttrain.pipeline.finding import Finding

ENOUGH = 30  # comparisons under which an interval is too wide to stop a recipe
STEPS = 10  # fewer say nothing


def of_reward_model(metrics: Metrics, thresholds: OfRewardModel) -> Finding:
    """Reads ``score_length`` with its interval, ``label_accuracy_uneven`` and ``longer_chosen`` of held-out
    comparisons of answers of unequal length (``evaluation.confidence_and_length``). Fails where the interval
    of the correlation is beyond ``length_correlation``, either way, and the model agrees with people by less
    than ``beyond_length`` more often than does a rule that goes by length alone.
    """
    correlation, right = read(metrics, "score_length"), number(metrics, "label_accuracy_uneven", 0.0)
    value, count, (low, high) = correlation.value, correlation.n or 0, correlation.interval or (0.0, 0.0)
    chosen = number(metrics, "longer_chosen", 0.5)
    rule, enough = max(chosen, 1 - chosen), isinstance(value, int | float) and count >= ENOUGH
    follows = max(low, -high) > thresholds.length_correlation
    evidence = f"fewer than {ENOUGH} held-out comparisons of answers of unequal length: not known"
    if enough:
        evidence = (
            f"difference in score and in length have a correlation of {value:.2f} in {count} comparisons; it "
            f"agrees with {right:.1%} of them, a rule that goes by length alone with {rule:.1%}"
        )
    return Finding(
        name="rm_more_than_length",
        value=value,
        threshold=thresholds.length_correlation,
        passed=not (enough and follows and right - rule < thresholds.beyond_length),
        evidence=evidence,
        advice="a policy would learn to write long, or short, and nothing else: give comparisons of answers "
        "about as long as each other, or look whether annotators went by length",
        learning=True,
    )


def of_rewards(metrics: Metrics, thresholds: OfReinforcement) -> Finding:
    """Reads ``reward_length``, the mean correlation of reward and length in a batch. A reward for short
    answers is not found: verifiers pay nothing for what a limit cut, which looks the same.
    """
    value, steps = number(metrics, "reward_length", 0.0), number(metrics, "steps", 0)
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
