"""What differs between models: data, annotators, sizes and learning rates. One function a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from posttrain.feedback.constraint_annotators import CHECKERS
from posttrain.feedback.everyday_annotators import READERS
from posttrain.feedback.simulated import ANNOTATORS, Annotator
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage, Stages, rewrite
from posttrain.pipeline.values import Override, named_class
from posttrain.rewards.base import RewardSource
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.rewards.final_answer import FinalAnswer
from posttrain.rewards.reasoning_gym import ReasoningGym
from posttrain.stages.base import EMBEDDED, ExistingModel
from posttrain.stages.demonstrations import (
    ConstraintDemonstrations,
    EverydayDemonstrations,
    FieldGuideDemonstrations,
)
from posttrain.stages.problems import ProblemRows
from posttrain.stages.prompts import ConstraintPrompts, EverydayPrompts, FieldGuidePrompts
from posttrain.stages.reasoning_gym import ReasoningGymTasks
from posttrain.stages.smollm2 import SmolLM2

if TYPE_CHECKING:
    from posttrain.models.lora import Lora

Former = TypeVar("Former", bound=Stage)
Evidence = Literal["quick", "full"]
Objective = Literal["", "sharpened", "plain"]  # empty: what the preset has


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A base, data that suits it, and overrides of the stages of ``instructgpt``, as a user writes them."""

    base: Stage
    demonstrations: Stage
    prompts: Stage
    annotators: tuple[Annotator, ...] = ANNOTATORS
    more_demonstrations: Stage | None = None  # four times as many, for a control
    lora_rank: int = 0  # 0 trains every weight
    shuffled_control: bool = True  # a second reward model, on shuffled labels
    overrides: str = ""
    sharpened: str = ""  # more of them, for the objective of that name; without any there is none
    plain: str = ""


def field_guide(seed: int) -> Preset:
    """The embedded world and its base model: the stages' defaults were chosen for it."""
    return Preset(
        base=ExistingModel(source=SourceFile(str(EMBEDDED)), field_guide=True),
        demonstrations=FieldGuideDemonstrations(seed=seed),
        more_demonstrations=FieldGuideDemonstrations(
            name="demonstrations_4x", rows=4 * FieldGuideDemonstrations.rows, seed=seed
        ),
        prompts=FieldGuidePrompts(seed=seed),
        # chosen on held-out prompts drawn with another seed than the frozen ones that evaluation asks
        overrides="""
            pairs.rows=4000 pairs.answers=4 labels.per_pair=5
            rm.epochs=2 rm.sft_coef=0.3 rm.learning_rate=7e-4 rm.batch_size=64
        """,
        sharpened="""
            rl.method.kl.coef=0.3 rl.method.kl.power=3 rl.method.minibatches=8
            rl.control=AdaptiveKL rl.control.target=2.4 rl.control.horizon=640 rl.steps=42
        """,
        plain="""
            rl.method.kl.coef=0.2 rl.method.minibatches=4
            rl.control=AdaptiveKL rl.control.target=2.5 rl.control.horizon=640 rl.steps=45
        """,
    )


def smollm2(seed: int) -> Preset:
    """SmolLM2-135M-Instruct with adapters, on everyday questions: feelings, how-tos, beginnings of facts.

    At temperature 1 this model writes word salad, at 0.7 it does not.
    """
    return Preset(
        base=SmolLM2(),
        demonstrations=EverydayDemonstrations(seed=seed),
        prompts=EverydayPrompts(seed=seed),
        annotators=READERS,
        lora_rank=8,
        shuffled_control=False,
        overrides="""
            sft.learning_rate=1e-3 sft.epochs=2 sft.batch_size=8
            pairs.rows=640 pairs.heldout=120 pairs.answers=4
            pairs.temperature=0.7 pairs.max_completion_length=56
            labels.per_pair=4 labels.heldout_per_pair=4
            rm.learning_rate=1e-3 rm.batch_size=24 rm.epochs=2 rm.weight_decay=0
            rm.reading.layer=20 rm.reading.mean=true rm.fitted_head=true
            rm.mismatched=0.5  # whether an answer belongs to its prompt, which few comparisons turn on
            rl.method.kl.coef=0.1 rl.method.gae_lambda=1 rl.method.minibatches=2
            rl.control=AdaptiveKL rl.control.target=1.8 rl.control.horizon=64
            rl.learning_rate=3e-4 rl.warmup=3 rl.steps=26 rl.prompts_per_step=32
            rl.critic_learning_rate=1.5e-3  # at 5e-4 it explained less than the mean of returns does
            rl.temperature=0.7 rl.max_completion_length=56
            evaluate.rows=240 evaluate.best_of=8 evaluate.own_answers=4
            evaluate.temperature=0.7 evaluate.max_completion_length=56
        """,
    )


def smollm2_constraints(seed: int) -> Preset:
    """SmolLM2-135M-Instruct with adapters, on prompts whose constraints a program can check: for the
    recipes that pay what can be verified. Preferences teach little of exact shapes: docs/smollm2.md.
    """
    return Preset(
        base=SmolLM2(),
        demonstrations=ConstraintDemonstrations(rows=640, heldout=48, seed=seed),
        prompts=ConstraintPrompts(heldout=300, seed=seed),
        annotators=CHECKERS,
        lora_rank=8,
        shuffled_control=False,
        overrides="""
            sft.learning_rate=5e-4 sft.epochs=2 sft.batch_size=8
            pairs.rows=640 pairs.heldout=48 pairs.answers=3 pairs.max_completion_length=40
            labels.per_pair=4
            rm.learning_rate=6e-4 rm.batch_size=8 rm.epochs=1 rm.weight_decay=0
            rl.method.kl.coef=0.05 rl.method.gae_lambda=1 rl.method.minibatches=2
            rl.learning_rate=3e-4 rl.critic_learning_rate=5e-4 rl.warmup=3
            rl.steps=24 rl.prompts_per_step=32 rl.max_completion_length=40
            evaluate.rows=300 evaluate.best_of=2 evaluate.max_completion_length=40
        """,
    )


def in_place_of(stages: Stages, old: Former, new: Former) -> Stages:
    """An expression, or a record of stages, with one stage in the place of another of its class."""
    return rewrite(stages, lambda was, now: new if was is old else now)


def on_more_prompts(recipe: Stages) -> Stages:
    """The recipe with 900 held-out prompts of the embedded world in place of 600: enough to tell policies
    apart that differ by a few points of gold.
    """

    def change(_: Stage, now: Stage) -> Stage:
        return replace(now, heldout=900) if isinstance(now, FieldGuidePrompts) else now

    return rewrite(recipe, change)


def known_problems(given: str, seed: int) -> tuple[Stage, RewardSource]:
    """A user's problems, a file or a data set on the hub, or ``reasoning_gym:TASK,TASK``; and who verifies
    answers to them.
    """
    maker, _, tasks = given.partition(":")
    if maker == "reasoning_gym":
        names = tuple(name.strip() for name in tasks.split(",") if name.strip())
        return ReasoningGymTasks(tasks=names, seed=seed), ReasoningGym()
    return ProblemRows(source=SourceFile(given, "datasets")), FinalAnswer()


def verified_by(name: str, otherwise: RewardSource) -> RewardSource:
    """The reward in the file of that name in posttrain/rewards, or where none is named the other one."""
    if not name:
        return otherwise
    made: RewardSource = named_class(Override("verifier", name), (ExactAnswer,), ExactAnswer())()
    return made


def check_objective(objective: Objective, sharpens: bool) -> None:
    """Raises UserError for an objective that is none, or that there are no settings for."""
    if objective not in get_args(Objective):
        raise UserError(f"objective={objective}: expected {', '.join(get_args(Objective)[1:])}")
    if objective == "sharpened" and not sharpens:
        raise UserError(
            "objective=sharpened: only the embedded model has settings for it; with another model choose the "
            "power yourself, rl.method.kl.power=3"
        )


def overrides_of(chosen: Preset, objective: Objective) -> tuple[str, str]:
    """The preset's overrides, and those of an objective; without a name the sharpened one where there is one.
    Raises UserError where the preset has no settings for it.
    """
    check_objective(objective, sharpens=bool(chosen.sharpened))
    sharpened = objective != "plain" and chosen.sharpened
    return chosen.overrides, sharpened or chosen.plain


def with_controls(evidence: Evidence) -> bool:
    """Whether a recipe makes its controls. Raises UserError for evidence that is neither quick nor full."""
    if evidence not in get_args(Evidence):
        raise UserError(f"evidence={evidence}: expected {', '.join(get_args(Evidence))}")
    return evidence == "full"


def adapter(rank: int) -> Lora | None:
    """Adapters of that rank, or None for rank 0; transformers is imported only where there are any."""
    if rank == 0:
        return None
    from posttrain.models.lora import Lora

    return Lora(rank=rank, alpha=2.0 * rank)


PRESETS: dict[str, Callable[[int], Preset]] = {
    "field_guide": field_guide,
    "smollm2": smollm2,
    "smollm2_constraints": smollm2_constraints,
}
_VERIFIABLE = {"smollm2": "smollm2_constraints"}


def verifiable_world(model: str) -> str:
    """The preset of the same model whose prompts a program can check."""
    return _VERIFIABLE.get(model, model)


def preset(model: str, seed: int) -> Preset:
    """Raises UserError for a model that there is no preset for."""
    if model not in PRESETS:
        raise UserError(
            f"model={model}: expected one of {', '.join(PRESETS)}; for a model of your own use "
            "base=DIRECTORY or a name on the hub"
        )
    return PRESETS[model](seed)
