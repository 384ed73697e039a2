"""Reinforcement in an environment: the same loop, records and methods as for language, on a small network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.core.batch import PolicyGradient
from posttrain.core.kl import KLInReward
from posttrain.cost.work import StageWork
from posttrain.environments.base import Environment
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import REINFORCEMENT, Inputs, Machine, Report, Stage, later
from posttrain.policy_gradients.ppo import PPO
from posttrain.rollouts.online_reward import Comparisons

if TYPE_CHECKING:
    from posttrain.models.mlp import MLPPolicy
    from posttrain.rollouts.collected import Collected, Paying
    from posttrain.rollouts.play import Player
    from posttrain.training.optimizer import Optimizer
    from posttrain.training.rl_loop import RLState

    StepMetrics = dict[str, Any]  # of one update, by name

SECONDS = 5e-4  # for one step of all copies, and what is learned from it; one core
EACH = 3e-4  # the same for one step of one copy, where ``least_steps`` says how many there are


@dataclass(frozen=True, kw_only=True)
class Control(Stage):
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
    amounts = (("steps", "{} steps"), ("starts", "{} starts a step"), ("group_size", "{} answers each"))
    positive = ("steps", "starts", "group_size", "learning_rate", "hidden")
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
        from posttrain.training.average import Average
        from posttrain.training.drive import Driver, Resumable
        from posttrain.training.rl_loop import RLState

        state = RLState()
        policy, collect, optimizer, loop = self._loop(machine, state)
        average = Average(policy.parameters_of("policy"), self.average) if self.average else None
        resumables: dict[str, Resumable] = {"state": state, "optimizer": optimizer, "collect": collect}
        if average is not None:
            resumables["average"] = average

        def after(metrics: StepMetrics) -> StepMetrics:
            if average is not None:
                average.add()
            paying = getattr(collect.paying, "last_metrics", {})
            update = of_play(metrics, paying, self.comparisons is not None)
            return {name: value for name, value in update.items() if math.isfinite(value)}

        driver = Driver.of(machine, self.name or self.address, output, self.steps, ["return", "reward"])
        history = driver.drive(
            loop,
            resumables,
            done=lambda: state.step,  # of which each is several updates
            whole=lambda: state.whole,
            after=after,
        )
        if average is not None:
            average.take_over()
        policy.save(output)
        assert collect.last is not None  # steps are positive
        return Report(metrics=of_run(history) | of_last_plays(collect.last), notes=self._notes())

    @property
    def _updates(self) -> int:
        return self.steps * self.method.epochs * self.method.minibatches

    def _loop(
        self, machine: Machine, state: RLState
    ) -> tuple[MLPPolicy, Collected, Optimizer, Iterator[StepMetrics]]:
        import copy

        from posttrain.models.mlp import MLPPolicy
        from posttrain.rollouts.collected import Collected
        from posttrain.rollouts.play import Player
        from posttrain.training.optimizer import Group, Optimizer, constant, delayed, linear
        from posttrain.training.rl_loop import train_rl

        world = self.environment
        reads = self.normalise and not getattr(world, "one_hot", False)
        policy = MLPPolicy(world.observations, world.actions, self.hidden, self.seed, reads, bias=self.bias)
        player = Player(world, policy, starts=self.starts, group_size=self.group_size, seed=self.seed)
        collect = Collected(self._paying(player), self.paid_at_the_end, policy)

        def publish(version: int) -> None:
            collect.observe(version)
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
        optimizer = Optimizer(groups, schedule=linear(self._updates))
        loop = train_rl(
            state,
            policy,
            self.method,
            collect,
            optimizer,
            publish,
            steps=self.steps,
            reference=copy.deepcopy(policy) if charged else None,
            micro_batch_tokens=machine.micro_batch_tokens,
            seed=self.seed,
        )
        return policy, collect, optimizer, loop

    def _paying(self, player: Player) -> Paying:
        """What gives a batch of plays with the rewards to learn from."""
        from posttrain.rollouts.online_reward import OnlineReward
        from posttrain.rollouts.scaled import ScaledRewards
        from posttrain.rollouts.waves import Waves

        paying: Paying = Waves(player, self.least_steps) if self.least_steps else player
        if self.comparisons is not None:
            paying = OnlineReward(player, self.comparisons, self.seed)
        if self.scale_rewards:
            paying = ScaledRewards(paying, getattr(self.method, "gamma", 1.0))
        return paying

    def _notes(self) -> list[str]:
        return [] if self.comparisons is None else ["Those who compare are simulated."]

    def rehearsal(self) -> Control:
        few = None if self.comparisons is None else replace(self.comparisons, most=8, at_first=8, updates=2)
        return replace(self, steps=1, starts=8, least_steps=0, comparisons=few)

    def work(self, inputs: Inputs) -> StageWork | None:
        seconds = self.least_steps * EACH if self.least_steps else self.environment.limit * SECONDS
        return StageWork(seconds=self.steps * seconds)
