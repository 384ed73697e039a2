"""Whether there was anything to learn from: rewards that differ, answers that end. Both are told; what was
learned is judged by other gates. The run stops only where every answer of every step was paid the same: then
nothing can have been learned.
"""

from __future__ import annotations

from posttrain.checks.thresholds import OfReinforcement
from posttrain.metrics import Metrics, number
from posttrain.pipeline.finding import Finding

STEPS = 10  # fewer say nothing


def check(metrics: Metrics, grouped: bool, thresholds: OfReinforcement) -> list[Finding]:
    """Reads ``flat_steps``, the share of steps whose answers were all paid the same, ``flat_groups``, that of
    groups, where a method compares the answers to one prompt (``grouped``), and ``truncated_final``.
    """
    flat = number(metrics, "flat_groups" if grouped else "flat_steps", 0.0)
    cut = number(metrics, "truncated_final", 0.0)
    of = "groups of answers to one prompt" if grouped else "steps"
    return [
        Finding(
            name="rl_reward_varies",
            value=flat,
            threshold=thresholds.flat,
            passed=flat < thresholds.flat,
            evidence=f"in {flat:.0%} of the {of} every answer was paid the same: nothing to learn from",
            advice="easier or harder prompts, a reward with more grades, a higher rl.temperature or "
            "rl.group_size",
            learning=True,
            stops=flat == 1.0 and number(metrics, "steps", 0) >= STEPS,
        ),
        Finding(
            name="rl_answers_end",
            value=cut,
            threshold=thresholds.truncated,
            passed=cut < thresholds.truncated,
            evidence=f"{cut:.0%} of the last answers were cut at rl.max_completion_length",
            advice="raise rl.max_completion_length, or train sft to end its answers",
            learning=True,
            stops=False,
        ),
    ]
