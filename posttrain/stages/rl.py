"""Reinforcement: a policy gradient on answers that a reward source scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.checks import model_fits, reward_fits, rows_ahead, something_to_learn
from posttrain.checks.thresholds import OfReinforcement
from posttrain.core.batch import PolicyGradient
from posttrain.core.kl import label
from posttrain.cost.work import StageWork
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import ModelStage, PromptStage
from posttrain.pipeline.stage import (
    REINFORCEMENT,
    SAMPLES,
    SCALAR,
    Compute,
    Inputs,
    Machine,
    Report,
    Stage,
    judging,
    later,
)
from posttrain.policy_gradients.ppo import PPO
from posttrain.stages.mixing_in import mixing_in
from posttrain.stages.rl_collecting import collecting
from posttrain.stages.rl_effective import EffectiveSettings
from posttrain.stages.rl_gates import gates_of
from posttrain.stages.rl_optimizer import optimizer_of
from posttrain.stages.rl_work import work_of
from posttrain.training.kl_control import FixedKL, KLController

if TYPE_CHECKING:
    from posttrain.models.lora import Lora
    from posttrain.models.roles import PolicyRoles
    from posttrain.rewards.base import RewardSource, Scorer
    from posttrain.rollouts.collect import Collector
    from posttrain.training.optimizer import Optimizer
    from posttrain.training.rl_loop import RLState

    StepMetrics = dict[str, Any]  # of one update, by name


@dataclass(frozen=True, kw_only=True)
class Reinforcement(EffectiveSettings, Stage):
    """``steps`` batches of ``prompts_per_step * group_size`` answers; the reference is ``policy`` as it came.

    Without a ``group_size`` a batch has as many answers whether or not the method compares them.
    """

    address = "rl"
    does = "reinforcement"
    role = REINFORCEMENT
    amounts = (
        ("steps", "{} steps"),
        ("prompts_per_step", "{} prompts a step"),
        ("group_size", "{} answers each"),
    )
    positive = (
        *("steps", "prompts_per_step", "group_size"),
        *("learning_rate", "temperature", "max_completion_length"),
    )
    fits = model_fits.check
    usable = model_fits.usable
    policy: ModelStage
    """The model that is trained; as it came it is also the reference."""
    reward: RewardSource
    """What pays for answers: a file of ``posttrain/rewards``, such as learned, constraints or math_answer."""
    prompts: PromptStage
    """The prompts that are answered."""
    critic: Stage | None = None
    """What the critic grows from: a reward model (Ouyang et al. 2022, section 3.5) or a language model."""
    teacher: ModelStage | None = None
    """The reference of a method that distils, in place of the policy as it came."""
    method: PolicyGradient = field(default_factory=PPO)
    """The policy gradient: a file of ``posttrain/policy_gradients``, such as ppo, grpo or rloo."""
    control: KLController = field(default_factory=FixedKL)
    """How the KL coefficient changes: FixedKL keeps it, AdaptiveKL steers to a target KL."""
    steps: int = 50
    """Batches of answers that are learned from."""
    prompts_per_step: int = 192
    """Prompts in a batch; without ``group_size``, answers in a batch."""
    group_size: int | None = None
    """Answers to each prompt; none: 1, or 4 to a quarter of the prompts for methods that compare them."""
    learning_rate: float = 2.5e-4
    """Peak step size of AdamW for the policy; it falls straight to a tenth."""
    critic_learning_rate: float = 1e-3
    """Peak step size of AdamW for the critic; it falls straight to a tenth."""
    warmup: int = 5
    """Updates over which the learning rate rises from 0, at most a quarter of all."""
    temperature: float = 1.0
    """Sampling temperature of the answers, at which log-probabilities and KL are taken too."""
    max_completion_length: int = 48
    """Longest answer in tokens; longer ones are cut."""
    kept_episodes: int = 64
    """Answers of each step that are written to episodes.jsonl, for people and for evaluation."""
    lora: Lora | None = None
    """Adapters trained in place of the weights (``rl.lora=lora rl.lora.rank=16``); none trains all."""
    seed: int = 0
    """Seed of the order of the prompts, the answers and new weights."""
    as_control: bool = later(False)
    """A control: the gate that its reward must rise is off."""
    pretraining: Stage | None = later(None)
    """Text whose negative log-likelihood is mixed into every update (PPO-ptx, Ouyang et al. 2022, eq. 2)."""
    pretraining_coef: float = later(1.0)
    """Weight of that negative log-likelihood in the loss; larger forgets less."""
    pretraining_rows: int = later(16)
    """Texts in each update."""
    decay_to_start: float = later(0.0)
    """Weight decay towards the weights at the start; larger stays closer (Li et al. 2018, L2-SP)."""
    average: float = later(0.0)
    """Decay per update of an average of the weights that is kept (Ouyang et al. 2022: 0.992); 0: off."""
    compute: Compute = later("float32")
    """Number format of matrix products; bfloat16 adds truncated importance weights to the loss."""
    flat_steps: int = later(10)
    """A run ends after so many first steps in which all answers were paid the same; 0 never ends it."""
    thresholds: OfReinforcement = judging(OfReinforcement())
    """From which values on the gates of this stage fail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self.method).__name__
        if self.average >= 1:
            raise UserError(f"average is {self.average}: a decay is below 1; 0.992 averages some 125 updates")
        if self.method.wants.teacher and self.teacher is None:
            raise UserError(f"{name} learns from a teacher, and there is none: give teacher=DIR_OR_HUB_ID")
        if self.teacher is not None and not self.method.wants.teacher:
            raise UserError(
                f"{name} learns from no teacher: give method=on_policy_distillation, or no teacher"
            )
        if self.compares and self.group_size == 1:
            raise UserError(
                f"{name} compares answers to the same prompt: group_size is 1, expected 2 or more"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        return (SAMPLES, SCALAR) if self.method.wants.values else (SAMPLES,)

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the policy, its critic in ``critic/``, ``metrics.jsonl`` and ``episodes.jsonl``."""
        from posttrain.rewards.base import opened
        from posttrain.rollouts.encode import conversation_metrics
        from posttrain.stages.rl_log import EPISODES, StepLog
        from posttrain.stages.rl_summary import SHOWN, summary
        from posttrain.storage.jsonl import RowsInFile
        from posttrain.training.average import Average
        from posttrain.training.drive import Driver, Resumable
        from posttrain.training.rl_loop import RLState
        from posttrain.training.run_summary import by_step

        lines = [line for line in [label(self.method)] if line]
        if lines and not machine.quiet:
            print(f"  {self.name or self.address}: {lines[0]}", flush=True)
        with ExitStack() as stack:
            scorer = stack.enter_context(opened(self.reward, inputs, machine))
            state = RLState()
            roles, collector, optimizer, loop = self._loop(inputs, machine, scorer, state)
            prompts = RowsInFile(inputs["prompts"].path / "train.jsonl")
            conversations, more = conversation_metrics(collector.chat, prompts)
            average = Average(roles.policy.parameters_of("policy"), self.average) if self.average else None
            limit = self.flat_steps if self.teacher is None and not self.as_control else 0
            alike = something_to_learn.PaidAlike(limit, self.compares)
            resumables: dict[str, Resumable] = {"state": state, "optimizer": optimizer, "alike": alike}
            if average is not None:
                resumables["average"] = average
            driver = Driver.of(machine, self.name or "rl", output, self.steps, SHOWN)
            episodes = stack.enter_context(driver.log(EPISODES))
            history = driver.drive(
                loop,
                resumables,
                done=lambda: state.step,  # of which each is several updates
                whole=lambda: state.whole,
                after=StepLog(collector, episodes, self.kept_episodes, average),
                ends=lambda row: alike.ends(row, state.step),
                logs=[episodes],
            )
            if state.step < self.steps:
                lines.append(f"Ended after {state.step} steps: all answers were paid the same.")
            if average is not None:
                average.take_over()
            roles.save(output)
        notes = lines + (["The KL of this run is that from the teacher."] if self.teacher is not None else [])
        if failed := int(sum(row.get("answers/verifier_failed", 0) for row in by_step(history))):
            notes.append(f"{failed} answers were neither paid nor counted as wrong: their verifier failed.")
        if (asked := self.batch_shape[0]) > len(collector.asked):
            notes.append(f"{asked} prompts are asked in a step, and there are {len(collector.asked)}.")
        if collector.too_long:
            notes.append(f"{collector.too_long} prompts were too long beside an answer and were left out.")
        return Report(metrics=summary(history) | conversations | roles.metrics, notes=notes + more)

    def _loop(
        self, inputs: Inputs, machine: Machine, scorer: Scorer, state: RLState
    ) -> tuple[PolicyRoles, Collector, Optimizer, Iterator[StepMetrics]]:
        from posttrain.checks.model_probes import look_at_sampling
        from posttrain.engines.builtin import BuiltinEngine
        from posttrain.models.chat import Chat
        from posttrain.models.roles import ModelPlacement, open_policy, open_teacher
        from posttrain.storage.jsonl import RowsInFile
        from posttrain.training.rl_loop import train_rl

        effective, wants = self.effective(), self.method.wants
        grown_from = inputs["critic"].path if self.critic is not None else inputs["policy"].path
        placement = ModelPlacement(device=machine.device, compute=self.compute, recompute=machine.recompute)
        roles = open_policy(
            inputs["policy"].path,
            lora=self.lora,
            critic=grown_from if wants.values else None,
            reference=self.teacher is None,
            seed=self.seed,
            placement=placement,
        )
        reference = roles.reference
        if self.teacher is not None:
            reference = open_teacher(inputs["teacher"].path, roles.tokenizer, placement)
        engine = BuiltinEngine(roles.model, dtype=placement.matmul_dtype)
        rows = inputs["prompts"].path / "train.jsonl"
        collector = collecting(effective, engine, Chat(roles.tokenizer), rows, scorer)
        start, teacher = (None, reference) if self.teacher else (reference, None)
        look_at_sampling(collector, roles.policy, start, self.compute, effective.method, teacher)
        mix = None
        if self.pretraining is not None:
            text = RowsInFile(inputs["pretraining"].path / "train.jsonl")
            each = (self.pretraining_rows, self.seed)
            mix = mixing_in(roles.policy, collector.chat, text, self.pretraining_coef, each)
        optimizer = optimizer_of(effective, roles)
        loop = train_rl(
            state,
            roles.policy,
            effective.method,
            collector,
            optimizer,
            lambda version: engine.load(roles.weights(), version),
            steps=self.steps,
            reference=reference,
            kl_controller=self.control,
            mix=mix,
            micro_batch_tokens=machine.micro_batch_tokens,
            seed=self.seed,
        )
        return roles, collector, optimizer, loop

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        return reward_fits.check(self.reward, inputs["prompts"].path / "train.jsonl")

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        paths = {name: inputs[name].path for name in ("critic", "teacher", "reward.model") if name in inputs}
        findings = rows_ahead.vocabularies(model, paths)
        if "prompts" in inputs:
            findings += rows_ahead.prompts(self, model, inputs["prompts"].path, "train")
        return findings

    def gates(self, report: Report) -> list[Finding]:
        return gates_of(self, report.metrics)

    def rehearsal(self) -> Reinforcement:
        return replace(self, steps=1, prompts_per_step=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        return work_of(self.effective(), inputs)
