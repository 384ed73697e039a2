"""Whether there was anything to learn from: rewards that differ, answers that end. Both are told; what was
learned is judged by other gates. The run stops only where every answer of every step was paid the same: then
nothing can have been learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.checks.thresholds import OfReinforcement
from posttrain.metrics import Metrics, number
from posttrain.pipeline.finding import Finding

STEPS = 10  # fewer say nothing


class PaidAlike:
    """Follows a run and says when to end it: after ``limit`` first steps from which nothing could be learned,
    since every answer was paid the same, or where a method compares the answers to one prompt (``grouped``)
    every answer of each group. A limit of 0 never ends it.
    """

    def __init__(self, limit: int, grouped: bool) -> None:
        self.limit, self.grouped, self.flat = limit, grouped, limit > 0

    def state_dict(self) -> dict[str, bool]:
        """What a checkpoint holds of it."""
        return {"flat": self.flat}

    def load_state_dict(self, state: Mapping[str, bool]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.flat = state["flat"]

    def ends(self, row: Mapping[str, Any], step: int) -> bool:
        """Whether the run ends after ``step`` finished steps; ``row`` is a line of ``metrics.jsonl``."""
        if self.grouped and "answers/flat_groups" in row:
            self.flat = self.flat and row["answers/flat_groups"] == 1.0
        elif "reward_std" in row:
            self.flat = self.flat and row["reward_std"] == 0.0
        return self.flat and step >= self.limit


def check(metrics: Metrics, grouped: bool, thresholds: OfReinforcement, least: int = STEPS) -> list[Finding]:
    """Reads ``flat_steps``, the share of steps whose answers were all paid the same, ``flat_groups``, that of
    groups, where a method compares the answers to one prompt (``grouped``), and ``truncated_final``.
    Fewer than ``least`` steps stop nothing.
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
            stops=flat == 1.0 and number(metrics, "steps", 0) >= least,
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
