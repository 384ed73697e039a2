"""A policy of control, its likeliest actions and a random policy, played side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from posttrain.checks import better_than_random
from posttrain.cost.work import StageWork
from posttrain.environments.base import Environment
from posttrain.metrics import Metric
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage

STEP_SECONDS = 5e-4  # of all plays together, on one core


@dataclass(frozen=True, kw_only=True)
class ControlEvaluation(Stage):
    """``episodes`` plays of the policy and as many of a random one, in ``environment`` (None: where it
    learned), paid by the environment itself; and where the environment is a table, what both are worth there.
    """

    address = "evaluate"
    does = "evaluation"
    recorded_as = "posttrain.stages.control:ControlEvaluation"
    positive = ("episodes",)
    policy: Stage
    """The policy that is played."""
    environment: Environment | None = None
    """Where it is played; none takes the environment that it was trained in."""
    episodes: int = 100
    """Episodes that are played by the policy, and as many by a random one."""
    gamma: float = 0.95
    """Discount of the values in an environment that is a table; 1 does not discount."""
    control: bool = False
    """The policy had nothing to learn from, so it need not be better than random."""
    seed: int = 0
    """Seed of the starting states and the actions."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Metrics ``return/policy`` (sampled, as it was trained), ``return/greedy``, ``return/random``."""
        from posttrain.core.seeds import derive
        from posttrain.evaluation.intervals import bootstrap
        from posttrain.evaluation.solved import Solvable, against_the_optimum
        from posttrain.models.mlp import MLPPolicy
        from posttrain.rollouts.play import play
        from posttrain.stages.play_metrics import RETURN_OF

        world = self.environment or getattr(self.policy, "environment", None)
        if world is None:
            raise UserError(
                "evaluate.environment is not set, and a finished product does not say where it learned"
            )
        policy = MLPPolicy.load(inputs["policy"].path)
        chance = MLPPolicy(world.observations, world.actions, ())
        for parameter in chance.parameters():
            parameter.data.zero_()
        metrics: dict[str, Metric] = {}
        for name, actor, warmth in (
            ("policy", policy, 1.0),
            ("greedy", policy, 0.0),
            ("random", chance, 1.0),
        ):
            seeds = [derive(self.seed, "evaluate", row) for row in range(self.episodes)]
            earned = play(world, actor, seeds, temperature=warmth).parts["return"].tolist()
            metrics |= RETURN_OF.of(bootstrap(earned, seed=self.seed), play=name)
        if hasattr(world, "table"):
            metrics |= against_the_optimum(cast(Solvable, world), policy, self.gamma)
        return Report(metrics=metrics, notes=self._notes(world))

    def _notes(self, world: Environment) -> list[str]:
        """A policy that was never played so long may do what only fails later."""
        trained = getattr(getattr(self.policy, "environment", None), "limit", world.limit)
        if trained >= world.limit:
            return []
        return [f"Trained on plays of at most {trained} steps, judged on plays of up to {world.limit}."]

    def gates(self, report: Report) -> list[Finding]:
        return [] if self.control else [better_than_random.check(report.metrics)]

    def rehearsal(self) -> ControlEvaluation:
        return replace(self, episodes=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        world = self.environment or getattr(self.policy, "environment", None)
        return None if world is None else StageWork(seconds=3 * world.limit * STEP_SECONDS)
