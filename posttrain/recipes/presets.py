"""What differs between models: data, annotators, sizes and learning rates. One function a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from posttrain.core.kl import KLInReward
from posttrain.feedback.constraint_annotators import CHECKERS
from posttrain.feedback.everyday_annotators import READERS
from posttrain.feedback.simulated import ANNOTATORS, Annotator
from posttrain.models.reading import Reading
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage, rewrite
from posttrain.pipeline.values import Override, named_class
from posttrain.policy_gradients.ppo import PPO
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
from posttrain.training.kl_control import AdaptiveKL

Settings = dict[str, Any]
Evidence = Literal["quick", "full"]
Objective = Literal["", "sharpened", "plain"]  # empty: what the preset has


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A base, data that suits it, and settings that differ from the stages' own, by address."""

    base: Stage
    demonstrations: Stage
    prompts: Stage
    annotators: tuple[Annotator, ...] = ANNOTATORS
    more_demonstrations: Stage | None = None  # four times as many, for a control
    lora_rank: int = 0  # 0 trains every weight
    shuffled_control: bool = True  # a second reward model, on shuffled labels
    settings: dict[str, Settings] = field(default_factory=dict)
    plain: Settings = field(default_factory=dict)  # of rl where its settings are not of the plain objective


def field_guide(seed: int) -> Preset:
    """The embedded world and its base model: the stages' own settings were chosen for it."""
    return Preset(
        base=ExistingModel(source=SourceFile(str(EMBEDDED)), field_guide=True),
        demonstrations=FieldGuideDemonstrations(seed=seed),
        more_demonstrations=FieldGuideDemonstrations(
            name="demonstrations_4x", rows=4 * FieldGuideDemonstrations.rows, seed=seed
        ),
        prompts=FieldGuidePrompts(seed=seed),
        # chosen on held-out prompts drawn with another seed than the frozen ones that evaluation asks
        settings={
            "pairs": {"rows": 4000, "answers": 4},
            "labels": {"per_pair": 5},
            "rm": {"epochs": 2, "sft_coef": 0.3, "learning_rate": 7e-4, "batch_size": 64},
            "rl": {
                "method": PPO(kl=KLInReward(coef=0.3, power=3.0), epochs=1, minibatches=8),
                "control": AdaptiveKL(target=2.4, horizon=640),
                "steps": 42,
            },
        },
        plain={
            "method": PPO(kl=KLInReward(coef=0.2), epochs=1, minibatches=4),
            "control": AdaptiveKL(target=2.5, horizon=640),
            "steps": 45,
        },
    )


def smollm2(seed: int) -> Preset:
    """SmolLM2-135M-Instruct with adapters, on everyday questions: feelings, how-tos, beginnings of facts.

    At temperature 1 this model writes word salad, at 0.7 it does not.
    """
    answering = {"temperature": 0.7, "max_completion_length": 56}
    return Preset(
        base=SmolLM2(),
        demonstrations=EverydayDemonstrations(seed=seed),
        prompts=EverydayPrompts(seed=seed),
        annotators=READERS,
        lora_rank=8,
        shuffled_control=False,
        settings={
            "sft": {"learning_rate": 1e-3, "epochs": 2, "batch_size": 8},
            "pairs": {"rows": 640, "heldout": 120, "answers": 4, **answering},
            "labels": {"per_pair": 4, "heldout_per_pair": 4},
            "rm": {
                "learning_rate": 1e-3,
                "batch_size": 24,
                "epochs": 2,
                "weight_decay": 0.0,
                "reading": Reading(layer=20, mean=True),
                "fitted_head": True,
                "mismatched": 0.5,  # whether an answer belongs to its prompt, which few comparisons turn on
            },
            "rl": {
                "method": PPO(kl=KLInReward(coef=0.1), gae_lambda=1.0, epochs=1, minibatches=2),
                "control": AdaptiveKL(target=1.8, horizon=64),
                "learning_rate": 3e-4,
                "critic_learning_rate": 1.5e-3,  # at 5e-4 it explained less than the mean of returns does
                "warmup": 3,
                "steps": 26,
                "prompts_per_step": 32,
                **answering,
            },
            "evaluate": {"rows": 240, "best_of": 8, "own_answers": 4, **answering},
        },
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
        settings={
            "sft": {"learning_rate": 5e-4, "epochs": 2, "batch_size": 8},
            "pairs": {"rows": 640, "heldout": 48, "answers": 3, "max_completion_length": 40},
            "labels": {"per_pair": 4},
            "rm": {"learning_rate": 6e-4, "batch_size": 8, "epochs": 1, "weight_decay": 0.0},
            "rl": {
                "method": PPO(kl=KLInReward(coef=0.05), gae_lambda=1.0, epochs=1, minibatches=2),
                "learning_rate": 3e-4,
                "critic_learning_rate": 5e-4,
                "warmup": 3,
                "steps": 24,
                "prompts_per_step": 32,
                "max_completion_length": 40,
            },
            "evaluate": {"rows": 300, "best_of": 2, "max_completion_length": 40},
        },
    )


def on_more_prompts(recipe: Stage) -> Stage:
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


def with_objective(chosen: Preset, objective: Objective) -> Preset:
    """The preset with the objective that was asked for. Raises UserError where it has no settings for it."""
    check_objective(objective, bool(chosen.plain))
    if objective == "plain" and chosen.plain:
        return replace(chosen, settings={**chosen.settings, "rl": chosen.plain})
    return chosen


def with_controls(evidence: Evidence) -> bool:
    """Whether a recipe makes its controls. Raises UserError for evidence that is neither quick nor full."""
    if evidence not in get_args(Evidence):
        raise UserError(f"evidence={evidence}: expected {', '.join(get_args(Evidence))}")
    return evidence == "full"


def adapter(rank: int) -> Any:
    """Adapters of that rank, or None for rank 0; transformers is imported only where there are any."""
    if rank == 0:
        return None
    from posttrain.models.lora import Lora

    return Lora(rank=rank, alpha=2.0 * rank)


PRESETS = {
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
