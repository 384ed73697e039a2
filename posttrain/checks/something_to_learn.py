"""Whether there was anything to learn from: rewards that differ, answers that end. Both are told, and stop
nothing: what was learned is judged by other gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.pipeline.finding import Finding

MOST = 0.9  # share of steps, groups or answers


def check(figures: Mapping[str, Any], grouped: bool) -> list[Finding]:
    """Reads ``flat_steps``, the share of steps whose answers were all paid the same, ``flat_groups``, that of
    groups, where a method compares the answers to one prompt (``grouped``), and ``truncated_final``.
    """
    flat = float(figures.get("flat_groups" if grouped else "flat_steps", 0.0))
    cut = float(figures.get("truncated_final", 0.0))
    of = "groups of answers to one prompt" if grouped else "steps"
    return [
        Finding(
            name="rl_reward_varies",
            value=flat,
            threshold=MOST,
            passed=flat < MOST,
            evidence=f"in {flat:.0%} of the {of} every answer was paid the same: nothing to learn from",
            advice="easier or harder prompts, a reward with more grades, a higher rl.temperature or "
            "rl.group_size",
            learning=True,
            stops=False,
        ),
        Finding(
            name="rl_answers_end",
            value=cut,
            threshold=MOST,
            passed=cut < MOST,
            evidence=f"{cut:.0%} of the last answers were cut at rl.max_completion_length",
            advice="raise rl.max_completion_length, or train sft to end its answers",
            learning=True,
            stops=False,
        ),
    ]
