# size: the stage and its evaluation, which reads what the stage writes
"""Reinforcement in an environment: the same loop, records and methods as for language, on a small network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from posttrain.checks import better_than_random
from posttrain.core.batch import PolicyGradient
from posttrain.core.kl import KLInReward
from posttrain.environments.protocol import Environment
from posttrain.metrics import Metric
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import REINFORCEMENT, Estimate, Inputs, Machine, Report, Stage, later
from posttrain.policy_gradients.ppo import PPO
from posttrain.rollouts.compared import Comparisons

SECONDS = 5e-4  # for one step of all copies, and what is learned from it; one core
EACH = 3e-4  # the same for one step of one copy, where ``least_steps`` says how many there are


@dataclass(frozen=True, kw_only=True)
class Control(Stage):  # size: who learns where, from which reward, by what method, how much
    """``steps`` batches of ``starts * group_size`` plays of a policy that begins with all actions alike.

    ``least_steps``: plays are added, ``starts * group_size`` at a time, until a batch has that many steps.
    ``normalise``: networks read observations less their running mean, over their running deviation; one-hot
    observations are read as they are. ``scale_rewards``: learned from in units of the running deviation of
    their discounted sums. Returns are always reported in the environment's own units. ``bias``: layers have
    one; a table without it (``hidden`` is empty, observations are one-hot) has rows that share nothing.

    Paid by the environment, or with ``comparisons`` by a reward that is learned meanwhile from comparisons
    of stretches of play. With ``paid_at_the_end`` a row's rewards are paid in one sum at its last step, as a
    completion's is. Where the method charges for KL, the reference is the policy as it began.

    For the first ``critic_only_steps`` only the critic learns, and over the next ``warmup_steps`` the
    policy's learning rate rises from 0: the advantages of an untrained critic are noise, and 16 updates on
    noise can be more than the policy recovers from. ``average`` is the decay, an update, of the moving
    average of the policy's weights that is kept (0: the last ones): once all plays earn the same, whitened
    advantages are noise again.
    """

    address = "rl"
    does = "reinforcement"
    role = REINFORCEMENT
    positive = ("steps", "starts", "group_size", "learning_rate")
    environment: Environment
    """The environment that answers the policy: a file of ``posttrain/environments``."""
    comparisons: Comparisons | None = None
    """Learns the reward from comparisons of stretches of play; none pays the environment's own reward."""
    paid_at_the_end: bool = False
    """The rewards of an episode are paid in one sum at its last step, as those of a completion are."""
    method: PolicyGradient = field(default_factory=lambda: PPO(kl=KLInReward(coef=0.0)))
    """The policy gradient: a file of ``posttrain/policy_gradients``, such as ppo, a2c or reinforce."""
    steps: int = 40
    """Batches of play that are learned from."""
    starts: int = 32
    """Different starting states in a batch."""
    group_size: int = 1
    """Episodes from each starting state; methods that compare within a group need 2 or more."""
    learning_rate: float = 2e-3
    """Step size of AdamW for the policy at the start; it falls straight to 0."""
    critic_learning_rate: float = 5e-3
    """Step size of AdamW for the critic at the start; it falls straight to 0."""
    critic_only_steps: int = later(0)
    """Steps at the start in which only the critic learns: an untrained critic's advantages are noise."""
    warmup_steps: int = later(0)
    """Steps after those over which the policy's learning rate rises from 0."""
    average: float = later(0.0)
    """Decay per update of the moving average of the weights that is kept; 0 keeps the last weights."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of policy and critic; ``[]`` makes both linear."""
    least_steps: int = later(0)
    """Episodes are added to a batch until it has this many steps; 0 adds none."""
    normalise: bool = later(False)
    """Observations are centred and scaled by their running mean and deviation; one-hot ones are not."""
    scale_rewards: bool = later(False)
    """Rewards are divided by the running deviation of their discounted sums; reports stay in raw units."""
    bias: bool = later(True)
    """Layers add a bias; without it the rows of a table share nothing."""
    seed: int = 0
    """Seed of the weights, the starting states and the actions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least_steps > 0 and self.comparisons is not None:
            raise UserError(
                f"least_steps is {self.least_steps}, and comparisons are of starts * group_size plays: "
                "set one of the two"
            )
        wants = self.method.wants
        if wants.group and self.group_size < 2:
            raise UserError(
                f"group_size is {self.group_size}, and {type(self.method).__name__} compares plays that "
                "begin alike: expected at least 2"
            )
        if self.average >= 1:
            raise UserError(f"average is {self.average}: a decay is below 1; 0.99 averages some 100 updates")
        if self.critic_only_steps and not wants.values:
            raise UserError(
                f"critic_only_steps is {self.critic_only_steps}, and {type(self.method).__name__} has no "
                "critic: expected 0"
            )
        if wants.greedy:
            raise UserError(
                f"{type(self.method).__name__} needs a greedy play beside each, which is not made here"
            )

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the policy with its critic, and ``metrics.jsonl``."""
        from posttrain.stages.play_metrics import of_last_plays, of_play, of_run
        from posttrain.storage.jsonl import JsonlWriter
        from posttrain.training.average import Average
        from posttrain.training.progress import progress
        from posttrain.training.reinforce import ReinforceState

        state = ReinforceState()
        policy, collect, loop = self._loop(machine, state)
        average = Average(policy.parameters_of("policy"), self.average) if self.average else None
        history: list[dict[str, Any]] = []
        shown = ["return", "reward"]
        with JsonlWriter(output / "metrics.jsonl") as log:
            for metrics in progress(
                loop,
                self.steps,
                self.name or self.address,
                quiet=machine.quiet,
                done=partial(getattr, state, "step"),  # of which each is several updates
                shown=shown,
                note=machine.note,
            ):
                if average is not None:
                    average.add()
                update = of_play(
                    metrics, getattr(collect.paying, "last_metrics", {}), self.comparisons is not None
                )
                log.write({name: value for name, value in update.items() if math.isfinite(value)})
                history.append(update)
        if average is not None:
            average.take_over()
        policy.save(output)
        return Report(metrics=of_run(history) | of_last_plays(collect.last), notes=self._notes())

    @property
    def _updates(self) -> int:
        return self.steps * self.method.epochs * self.method.minibatches

    def _loop(self, machine: Machine, state: Any) -> tuple[Any, Any, Iterator[dict[str, Any]]]:
        import copy

        from posttrain.models.mlp import MLPPolicy
        from posttrain.rollouts.play import Player
        from posttrain.training.optimizer import Group, Optimizer, constant, delayed, linear
        from posttrain.training.reinforce import reinforce

        world = self.environment
        reads = self.normalise and not getattr(world, "one_hot", False)
        policy = MLPPolicy(world.observations, world.actions, self.hidden, self.seed, reads, bias=self.bias)
        player = Player(world, policy, starts=self.starts, group_size=self.group_size, seed=self.seed)
        collect = Collected(self._paying(player), self.paid_at_the_end)

        def publish(version: int) -> None:
            if collect.last is not None:
                policy.observe(collect.last)
            player.publish(version)

        rates = {"policy": self.learning_rate}
        if self.method.wants.values:
            rates["critic"] = self.critic_learning_rate
        each = self.method.epochs * self.method.minibatches  # updates of a step
        schedules = {"policy": delayed(self.critic_only_steps * each, self.warmup_steps * each)}
        groups = [
            Group(
                name=role,
                parameters=policy.parameters_of(role),
                learning_rate=rate,
                schedule=schedules.get(role, constant()),
            )
            for role, rate in rates.items()
        ]
        kl = getattr(self.method, "kl", None)
        charged = kl is not None and kl.coef > 0
        loop = reinforce(
            state,
            policy,
            self.method,
            collect,
            Optimizer(groups, schedule=linear(self._updates)),
            publish,
            steps=self.steps,
            reference=copy.deepcopy(policy) if charged else None,
            micro_batch_tokens=machine.micro_batch_tokens,
            seed=self.seed,
        )
        return policy, collect, loop

    def _paying(self, player: Any) -> Any:
        """What gives a batch of plays with the rewards to learn from."""
        from posttrain.rollouts.compared import Compared
        from posttrain.rollouts.scaled import ScaledRewards
        from posttrain.rollouts.waves import Waves

        paying: Any = Waves(player, self.least_steps) if self.least_steps else player
        if self.comparisons is not None:
            paying = Compared(player, self.comparisons, self.seed)
        if self.scale_rewards:
            paying = ScaledRewards(paying, getattr(self.method, "gamma", 1.0))
        return paying

    def _notes(self) -> list[str]:
        return [] if self.comparisons is None else ["Those who compare are simulated."]

    def rehearsal(self) -> Control:
        few = None if self.comparisons is None else replace(self.comparisons, most=8, at_first=8, updates=2)
        return replace(self, steps=1, starts=8, least_steps=0, comparisons=few)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        steps = self.least_steps * EACH if self.least_steps else self.environment.limit * SECONDS
        return Estimate(seconds=self.steps * steps)


class Collected:
    """What pays, and the last batch it paid for."""

    def __init__(self, paying: Any, at_the_end: bool) -> None:
        self.paying, self.at_the_end = paying, at_the_end
        self.last: Any = None

    def __call__(self, step: int) -> Any:
        from posttrain.rollouts.play import paid_at_the_end

        facts = self.paying(step)
        self.last = paid_at_the_end(facts) if self.at_the_end else facts
        return self.last


@dataclass(frozen=True, kw_only=True)
class ControlEvaluation(Stage):
    """``episodes`` plays of the policy and as many of a random one, in ``environment`` (None: where it
    learned), paid by the environment itself; and where the environment is a table, what both are worth there.
    """

    address = "evaluate"
    does = "evaluation"
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
        from posttrain.evaluation.solved import against_the_optimum
        from posttrain.models.mlp import MLPPolicy
        from posttrain.rollouts.play import play
        from posttrain.stages.play_metrics import RETURN_OF

        world: Any = self.environment or getattr(self.policy, "environment", None)
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
            metrics |= against_the_optimum(world, policy, self.gamma)
        return Report(metrics=metrics, notes=self._notes(world))

    def _notes(self, world: Any) -> list[str]:
        """A policy that was never played so long may do what only fails later."""
        trained = getattr(getattr(self.policy, "environment", None), "limit", world.limit)
        if trained >= world.limit:
            return []
        return [f"Trained on plays of at most {trained} steps, judged on plays of up to {world.limit}."]

    def gates(self, report: Report) -> list[Finding]:
        return [] if self.control else [better_than_random.check(report.metrics)]

    def rehearsal(self) -> ControlEvaluation:
        return replace(self, episodes=8)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        world = self.environment or getattr(self.policy, "environment", None)
        return None if world is None else Estimate(seconds=3 * world.limit * SECONDS)
