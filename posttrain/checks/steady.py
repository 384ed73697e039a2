"""Whether reinforcement went on steadily: entropy, length and clip fraction. Each is told and stops nothing:
a task with one right answer ends without entropy, reasoning grows several times longer as it gets better (Guo
et al. 2025), and some methods clip most tokens by design.
"""

from __future__ import annotations

from posttrain.checks.thresholds import OfReinforcement
from posttrain.metrics import Metrics, number
from posttrain.pipeline.finding import Finding

STEPS = 10  # fewer say nothing


def check(metrics: Metrics, thresholds: OfReinforcement) -> list[Finding]:
    """Reads start and end of ``entropy_before`` and ``length``, and ``clip_fraction_final``; what a method
    does not measure passes.
    """
    early = number(metrics, "steps", 0) < STEPS
    entropy = _moved(metrics, "entropy_before_start", "entropy_before_final")
    length = _moved(metrics, "length_start", "length_final")
    clipped = number(metrics, "clip_fraction_final", 0.0)
    most = thresholds.length_change
    drift = max(length, 1 / length) if length > 0 else 1.0
    return [
        _told(
            "rl_entropy",
            entropy,
            thresholds.entropy_left,
            early or entropy >= thresholds.entropy_left,
            f"{entropy:.0%} of the entropy at the start is left",
            "raise rl.method.kl.coef or rl.temperature, lower rl.learning_rate: answers are all the same",
        ),
        _told(
            "rl_length_drift",
            length,
            most,
            early or drift <= max(most, 1.0),
            f"answers are {length:.2f} times as long as at the start",
            "look whether the reward pays for length (reward_length, label_control/longer of rm), or whether "
            "answers no longer end",
        ),
        _told(
            "rl_clip_fraction",
            clipped,
            thresholds.clipped,
            early or clipped <= thresholds.clipped,
            f"{clipped:.0%} of tokens were clipped in the last batches",
            "lower rl.learning_rate, rl.method.epochs or rl.method.minibatches: most of a batch "
            "is thrown away",
        ),
    ]


def _moved(metrics: Metrics, first: str, last: str) -> float:
    """The last ones as a multiple of the first; 1 where there is nothing to compare."""
    start = number(metrics, first, 0.0)
    return metrics[last].number / start if start > 0 else 1.0


def _told(name: str, value: float, threshold: float, passed: bool, evidence: str, advice: str) -> Finding:
    return Finding(
        name=name,
        value=value,
        threshold=threshold,
        passed=passed,
        evidence=evidence,
        advice=advice,
        learning=True,
        stops=False,
    )
