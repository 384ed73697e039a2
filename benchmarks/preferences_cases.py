"""What bench_cartpole_preferences.py trains: the recipe, two controls, and the recipe less one part each."""

from __future__ import annotations

from dataclasses import dataclass

RECIPE = "cartpole_from_preferences"


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    settings: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ("better_than_random",)  # gates that must not stop a bench; a control has none

    def command(self, seed: int) -> list[str]:
        """What follows ``posttrain run``."""
        return [RECIPE, *self.settings, f"seed={seed}"]


LEARNED = Case("learned", "the recipe")
CONTROLS = (
    Case("shuffled", "every choice by a coin", ("shuffled=true",), accepts=()),
    Case("constant", "a reward of 0", ("constant=true",), accepts=()),
)
ABLATION = (
    Case(
        "no_zero",
        "mean compared step is paid 0, not untrained play",
        ("rl.comparisons.zero_untrained=false",),
    ),
    Case("no_bound", "reward without bound", ("rl.comparisons.bound=none",)),
    Case(
        "short_stretches",
        "stretches of 25 steps, 64 to a batch",
        ("rl.comparisons.length=25", "rl.comparisons.batch_size=64"),
    ),
    Case("not_balanced", "stretches not balanced", ("rl.comparisons.balanced=false",)),
    Case("no_slow_start", "no slow start", ("rl.critic_only_steps=0", "rl.warmup_steps=0")),
    Case("limit_300", "trained on plays of 300 steps", ("rl.environment.limit=300",)),
    Case("no_average", "last weights, not their average", ("rl.average=0",)),
)
CASES = (LEARNED, *CONTROLS, *ABLATION)
