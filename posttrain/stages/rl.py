"""Reinforcement: a policy gradient on answers that a reward source scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from posttrain.checks import (
    kl_budget,
    model_fits,
    more_than_length,
    nearer_the_teacher,
    reward_fits,
    reward_rose,
    rows_ahead,
    same_at_the_start,
    something_to_learn,
    steady,
)
from posttrain.checks.thresholds import OfReinforcement
from posttrain.core.batch import PolicyGradient, Refilling
from posttrain.core.importance import Truncated
from posttrain.core.kl import label
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import (
    SAMPLES,
    SCALAR,
    Compute,
    Estimate,
    Inputs,
    Machine,
    Report,
    Stage,
    judging,
    later,
)
from posttrain.policy_gradients.ppo import PPO
from posttrain.training.kl_control import FixedKL, KLControl

GROUP = 4  # answers a prompt, where a method compares them and nobody says how many

if TYPE_CHECKING:
    from posttrain.models.lora import Lora
    from posttrain.rewards.protocol import RewardSource


@dataclass(frozen=True, kw_only=True)
class Reinforcement(Stage):  # size: who learns, from whom, on what, how much of it
    """``steps`` batches of ``prompts_per_step * group_size`` answers; the reference is ``policy`` as it came.

    Without a ``group_size`` there is one answer to each prompt, or where the method compares answers 4 to
    each of a quarter of the prompts, so a batch has as many answers with either. ``critic`` is what the
    critic grows from, where the method has one: a reward model (Ouyang et al. 2022, section 3.5) or a
    language model. ``teacher`` is the reference of a method that distils, in place of the start.
    ``pretraining`` is text whose negative log-likelihood, times its ``coef``, is mixed into every update
    (PPO-ptx, Ouyang et al. 2022, eq. 2). ``average`` is the decay, an update, of the moving average of the
    weights that is kept in place of the last ones (ibid., appendix C: 0.992); 0 keeps the last.
    """

    address = "rl"
    positive = (
        *("steps", "prompts_per_step", "group_size"),
        *("learning_rate", "temperature", "max_completion_length"),
    )
    fits = model_fits.check
    policy: Stage
    reward: RewardSource
    prompts: Stage
    critic: Stage | None = None
    teacher: Stage | None = None
    method: PolicyGradient = field(default_factory=PPO)
    control: KLControl = field(default_factory=FixedKL)
    steps: int = 50
    prompts_per_step: int = 192
    group_size: int | None = None
    learning_rate: float = 2.5e-4
    critic_learning_rate: float = 1e-3
    warmup: int = 5
    temperature: float = 1.0
    max_completion_length: int = 48
    kept_episodes: int = 64  # of each step, for people and for evaluation afterwards
    lora: Lora | None = None
    seed: int = 0
    as_control: bool = later(False)  # made to compare with: its reward need not rise
    pretraining: Stage | None = later(None)
    pretraining_coef: float = later(1.0)
    pretraining_rows: int = later(16)  # texts in each update
    decay_to_start: float = later(0.0)  # weight decay towards the reference
    average: float = later(0.0)
    compute: Compute = later("float32")  # of matrix products and of the sampler; see ``corrected``
    thresholds: OfReinforcement = judging(OfReinforcement())

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
        if self._compares and self.group_size == 1:
            raise UserError(
                f"{name} compares answers to the same prompt: group_size is 1, expected 2 or more"
            )

    @property
    def needs(self) -> tuple[str, ...]:
        return (SAMPLES, SCALAR) if self.method.wants.values else (SAMPLES,)

    @property
    def _compares(self) -> bool:
        return self.method.wants.group or self.method.wants.whole_groups

    @property
    def drawn(self) -> tuple[int, int]:
        """Prompts of a step, and answers to each."""
        if self.group_size is not None:
            return self.prompts_per_step, self.group_size
        size = GROUP if self._compares else 1
        return max(self.prompts_per_step // size, 1), size

    @property
    def corrected(self) -> PolicyGradient:
        """The method; where sampler and trainer both round, each step is weighted by the truncated ratio of
        trainer to sampler (Yao et al. 2025), for which the trainer reads every batch before it learns.
        """
        method: Any = self.method
        if self.compute != "float32" and getattr(method, "correction", "none to give") is None:
            method = replace(method, correction=Truncated())
        return cast(PolicyGradient, method)

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the policy, its critic in ``critic/``, ``metrics.jsonl`` and ``episodes.jsonl``."""
        from posttrain.rollouts.reread import conversation_figures
        from posttrain.storage.jsonl import JsonlWriter, RowsInFile
        from posttrain.training.average import Average
        from posttrain.training.figures import by_step, of_run
        from posttrain.training.progress import progress

        told = [line for line in [label(self.method)] if line]
        if told and not machine.quiet:
            print(f"  {self.name or self.address}: {told[0]}", flush=True)
        updates = self.steps * self.method.epochs * self.method.minibatches
        history: list[dict[str, Any]] = []
        with ExitStack() as stack:
            log = stack.enter_context(JsonlWriter(output / "metrics.jsonl"))
            kept = stack.enter_context(JsonlWriter(output / "episodes.jsonl"))
            scorer = stack.enter_context(self.reward.open(inputs, machine))
            roles, collector, loop = self._loop(inputs, machine, scorer)
            prompts = RowsInFile(inputs["prompts"].path / "train.jsonl")
            conversations, more = conversation_figures(collector.chat, prompts)
            average = Average(_of(roles, "policy"), self.average) if self.average else None
            step, shown = 0, ("reward", "kl", "length")
            facts: dict[str, Any] = {"quiet": machine.quiet, "figures": shown, "note": machine.note}
            for figures in progress(loop, updates, self.name or "rl", **facts):
                if figures["step"] != step:
                    step = figures["step"]
                    for episode in collector.last_episodes[: self.kept_episodes]:
                        kept.write(episode)
                    figures |= {f"answers/{name}": x for name, x in collector.last_figures.items()}
                log.write({name: _json(value) for name, value in figures.items()})
                history.append(figures)
                if average is not None:
                    average.add()
            if average is not None:
                average.take_over()
            roles.save(output)
        notes = told + (["The KL of this run is that from the teacher."] if self.teacher is not None else [])
        if failed := int(sum(row.get("answers/verifier_failed", 0) for row in by_step(history))):
            notes.append(f"{failed} answers were neither paid nor counted as wrong: their verifier failed.")
        if collector.too_long:
            notes.append(f"{collector.too_long} prompts were too long beside an answer and were left out.")
        return Report(figures=of_run(history) | conversations | roles.figures, notes=notes + more)

    def _loop(  # size: everything a run of reinforcement is made from
        self, inputs: Inputs, machine: Machine, scorer: Any
    ) -> tuple[Any, Any, Iterator[dict[str, Any]]]:
        from posttrain.checks.model_probes import look_at_sampling
        from posttrain.engines.builtin import BuiltinEngine
        from posttrain.engines.protocol import Sampling
        from posttrain.models.chat import Chat
        from posttrain.models.roles import Place, open_policy, open_teacher
        from posttrain.rollouts.collect import Collector
        from posttrain.storage.jsonl import RowsInFile
        from posttrain.training.optimizer import Group, Optimizer, linear
        from posttrain.training.reinforce import ReinforceState, reinforce

        wants = self.method.wants
        grown_from = inputs["critic"].path if self.critic is not None else inputs["policy"].path
        place = Place(device=machine.device, compute=self.compute, recompute=machine.recompute)
        roles = open_policy(
            inputs["policy"].path,
            lora=self.lora,
            critic=grown_from if wants.values else None,
            reference=self.teacher is None,
            seed=self.seed,
            place=place,
        )
        reference = roles.reference
        if self.teacher is not None:
            reference = open_teacher(inputs["teacher"].path, roles.tokenizer, place)
        engine = BuiltinEngine(roles.model, dtype=place.product)
        collector = Collector(
            engine,
            Chat(roles.tokenizer),
            RowsInFile(inputs["prompts"].path / "train.jsonl"),
            scorer,
            Sampling(temperature=self.temperature, max_tokens=self.max_completion_length),
            prompts_per_step=self.drawn[0],
            group_size=self.drawn[1],
            greedy=wants.greedy,
            refills=wants.refills,
            informative=cast(Refilling, self.method).informative if wants.refills else None,
            seed=self.seed,
        )
        look_at_sampling(collector, roles.policy, None if self.teacher else reference, self.compute)
        groups = [
            Group(
                name="policy",
                parameters=_of(roles, "policy"),
                learning_rate=self.learning_rate,
                decay_to_start=self.decay_to_start,
            )
        ]
        mix = None
        if self.pretraining is not None:
            from posttrain.stages.mixing_in import mixing_in

            text = RowsInFile(inputs["pretraining"].path / "train.jsonl")
            drawn = (self.pretraining_rows, self.seed)
            mix = mixing_in(roles.policy, collector.chat, text, self.pretraining_coef, drawn)
        if wants.values:
            rate = self.critic_learning_rate
            groups.append(Group(name="critic", parameters=_of(roles, "critic"), learning_rate=rate))
        updates = self.steps * self.method.epochs * self.method.minibatches
        loop = reinforce(
            ReinforceState(),
            roles.policy,
            self.corrected,
            collector,
            Optimizer(groups, schedule=linear(updates, min(self.warmup, updates // 4), floor=0.1)),
            lambda version: engine.load(roles.weights(), version),
            steps=self.steps,
            reference=reference,
            control=self.control,
            mix=mix,
            micro_batch_tokens=machine.micro_batch_tokens,
            seed=self.seed,
        )
        return roles, collector, loop

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        return reward_fits.check(self.reward, inputs["prompts"].path / "train.jsonl")

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        there = {name: inputs[name].path for name in ("critic", "teacher", "reward.model") if name in inputs}
        found = rows_ahead.vocabularies(model, there)
        if "prompts" in inputs:
            found += rows_ahead.prompts(self, model, inputs["prompts"].path, "train")
        return found

    def gates(self, report: Report) -> list[Finding]:
        if self.teacher is not None:
            return [nearer_the_teacher.check(report.figures)]
        if self.as_control:
            return [same_at_the_start.check(report.figures, self.compute)]
        return [
            same_at_the_start.check(report.figures, self.compute),
            reward_rose.check(report.figures),
            kl_budget.check(report.figures, self.thresholds),
            more_than_length.of_rewards(report.figures, self.thresholds),
            *something_to_learn.check(report.figures, self._compares, self.thresholds),
            *steady.check(report.figures, self.thresholds),
        ]

    def rehearsal(self) -> Reinforcement:
        return replace(self, steps=1, prompts_per_step=8)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.stages.rl_work import estimate

        return estimate(self, inputs, machine)


def _of(roles: Any, role: str) -> list[Any]:
    return list(roles.policy.parameters_of(role))


def _json(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number is absent from a curve."""
    return None if isinstance(value, float) and value - value != 0 else value
