"""InstructGPT (Ouyang et al. 2022): demonstrations, comparisons, a reward model, PPO with a critic,
evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from posttrain.core.kl import KLInReward
from posttrain.cost.scale import Paper
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.on_policy_distillation import OnPolicyDistillation
from posttrain.policy_gradients.ppo import PPO
from posttrain.recipes.own_data import (
    JUDGE_SHARE,
    OwnData,
    from_own_data,
    need_comparisons,
    with_finished_sft,
)
from posttrain.recipes.presets import (
    Evidence,
    Objective,
    Preset,
    Settings,
    adapter,
    check_objective,
    on_more_prompts,
    preset,
    with_controls,
    with_objective,
)
from posttrain.rewards.learned import LearnedReward
from posttrain.stages.base import ExistingModel
from posttrain.stages.contest import Contest
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import Annotation, ComparisonRows
from posttrain.stages.pairs import ComparisonPairs
from posttrain.stages.prompts import PromptRows, PromptsOf
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from posttrain.stages.text import PretrainingPages, TextRows

PAPER = Paper(
    title="Ouyang et al. 2022, 175B",
    scale=(
        ("sft", "13 thousand demonstrations, 16 epochs; 4.9 petaflop/s-days"),
        ("rm", "33 thousand prompts, 4 to 9 answers each compared; a model of 6B"),
        ("rl", "31 thousand prompts, 256 thousand episodes, pretraining mixed in; 60 petaflop/s-days"),
        ("pretraining", "3,640 petaflop/s-days"),
    ),
)

SHUFFLED = "rm_shuffled: how often a reward model of shuffled labels agrees with gold"
MORE = "sft_4x: the loss after instruction tuning on four times the demonstrations"
PLAIN = "plain_control: the same PPO without pretraining text"
CONTROL_ROWS = 2000  # shuffled comparisons teach nothing; this many show it


def instructgpt(  # size: the recipe's parameters, each a word on the command line
    seed: int = 0,
    model: str = "field_guide",
    base: str = "",
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    lora: int = -1,
    teacher: str = "",
    ptx: float = 0.0,
    text: str = "",
    evidence: Evidence = "quick",
    objective: Objective = "",
    sft: str = "",
    judge_share: float = JUDGE_SHARE,
) -> Stage:
    """Base model, instruction tuning, preferences, reward model, PPO with a critic, evaluation.

    With base your model learns from your files alone: it is tuned first where there are demonstrations, or
    training begins at the tuned model sft.

    Parameters:
        seed: Seed of every stage.
        model: field_guide (the embedded model and world), smollm2 (fetched once, trained with adapters on
            everyday questions) or smollm2_constraints (the same model on prompts that a program can check).
        base: Your own model: a directory or a name on the hub; it learns from your files alone.
        demonstrations: Your rows {"messages": [...]}: a file, or a data set on the hub; the base is tuned on
            them first.
        comparisons: Your rows {"prompt", "chosen", "rejected"}.
        prompts: Your rows {"prompt"}; without them those of the comparisons are asked.
        lora: Rank of the adapters that are trained; 0 trains every weight, -1 is the model's own default.
        teacher: A model to distil in place of reinforcement, with the base's vocabulary; a directory or a
            name on the hub.
        ptx: Weight of the likelihood of pretraining text beside the reward (PPO-ptx); above 0, what each
            policy forgot is measured.
        text: Your rows {"text"} of such text.
        evidence: quick makes the recipe and measures it; full makes its controls as well: a reward model of
            shuffled labels, instruction tuning on four times the demonstrations, and with ptx PPO without it.
        objective: plain is the reward less the KL from the tuned model, with optimum reference * exp(reward /
            coef); sharpened charges the KL from that model raised to the power 3, with optimum reference ** 3
            * exp(reward / coef), so that an unlikely answer needs more reward. Without it the embedded model
            takes sharpened, every other model plain.
        sft: A tuned model to begin at, in place of tuning the base: a directory or a name
            on the hub.
        judge_share: Share of your comparisons that trains a judge for the report in place of the policy; 0
            makes none.
    """
    if text and not ptx:
        raise UserError(f"text={text}: pretraining text is read beside the reward only; set ptx=1 as well")
    if base:
        check_objective(objective, sharpens=False)
        need_comparisons("instructgpt", comparisons)
        files: dict[str, Any] = {
            "demonstrations": demonstrations,
            "comparisons": comparisons,
            "prompts": prompts,
        }
        brought = from_own_data(
            "instructgpt", seed, base, lora, model=model, sft=sft, judge_share=judge_share, **files
        )
        mixed = _pretraining(text, base, seed) if ptx else None
        return _on_own_data(brought, teacher, mixed, ptx, with_controls(evidence))
    chosen = with_objective(preset(model, seed), objective)
    shown = DemonstrationRows(source=SourceFile(demonstrations, "datasets")) if demonstrations else None
    compared = ComparisonRows(source=SourceFile(comparisons, "datasets")) if comparisons else None
    asked = _prompts(prompts, compared) or chosen.prompts
    if asked is not chosen.prompts and compared is None:
        raise UserError(
            "the simulated annotators know only the embedded world, so nobody could compare answers to "
            "your own "
            "prompts; give comparisons=FILE with rows {prompt, chosen, rejected}"
        )
    rank = chosen.lora_rank if lora < 0 else lora
    made = _recipe(chosen, shown or chosen.demonstrations, compared, asked, rank, seed, teacher)
    controlled = with_controls(evidence)
    if ptx:
        remembering = _remembering(made, _pretraining(text, model, seed), ptx, controlled)
        return with_finished_sft(remembering, sft)
    return with_finished_sft(made if controlled else without_controls(made), sft)


def _on_own_data(own: OwnData, teacher: str, text: Stage | None, ptx: float, controlled: bool) -> Stage:
    """Reward model and PPO on a user's files, judged by what learned from the rest of the comparisons."""
    if controlled and text is None:
        raise UserError(
            "evidence=full: the controls of instructgpt are measured by a gold reward, which your data have "
            "not; the judge and the held-out comparisons are there with evidence=quick"
        )
    assert own.labels is not None  # comparisons were needed
    assert own.prompts is not None
    rm = RewardModeling(base=own.policy, comparisons=own.labels, **own.modeling)
    rl = Reinforcement(
        policy=own.policy,
        reward=LearnedReward(model=rm, missing_eos_penalty=1.0),
        prompts=own.prompts,
        critic=rm,
        **{
            "critic_learning_rate": own.rate / 2,
            **own.learning,
            **own.sizes["ppo"],
            **own.sizes["answers"],
            **_taught(teacher),
        },
    )
    if text is None:
        return own.compared(rl, reward_model=rm)
    plain = replace(rl, name="plain_control", follows="rl")
    mixed = replace(rl, pretraining=text, pretraining_coef=ptx)
    return own.compared(
        mixed,
        reward_model=rm,
        text=text,
        controls=(plain,) if controlled else (),
        left_out=() if controlled else (PLAIN,),
    )


def _taught(teacher: str) -> Settings:
    """What reinforcement has of a model that is distilled in its place."""
    if not teacher:
        return {}
    known = ExistingModel(name="teacher", source=SourceFile(teacher))
    return {"method": OnPolicyDistillation(), "teacher": known}


def without_controls(evaluation: HeldoutEvaluation) -> HeldoutEvaluation:
    """The evaluation without the stages that are no part of the recipe; it names what it leaves out."""
    left_out = ((evaluation.control, SHUFFLED), (evaluation.sft_4x, MORE))
    missing = tuple(text for stage, text in left_out if stage is not None)
    return replace(evaluation, control=None, sft_4x=None, left_out=missing)


def _pretraining(given: str, model: str, seed: int) -> Stage:
    """Text like that which the base has read."""
    if given:
        return TextRows(source=SourceFile(given, "datasets"))
    if model != "field_guide":
        raise UserError(
            f"what {model} read in pretraining is not known here; give text=FILE with rows {{text}}"
        )
    return PretrainingPages(seed=seed)


def _remembering(told: HeldoutEvaluation, text: Stage, coef: float, controlled: bool) -> Stage:
    """PPO with pretraining text mixed in; ``controlled``: beside the same PPO without."""
    plain = replace(cast(Reinforcement, told.final), name="plain_control", follows="rl")
    return on_more_prompts(
        Contest(
            controls=(told.base, plain) if controlled else (told.base,),
            policies=(told.sft, replace(plain, name="", follows="", pretraining=text, pretraining_coef=coef)),
            prompts=told.prompts,
            reward_model=told.reward_model,
            text=text,
            max_completion_length=told.max_completion_length,
            seed=told.seed,
            left_out=() if controlled else (PLAIN,),
        )
    )


def _prompts(given: str, rows: Stage | None) -> Stage | None:
    """Prompts of their own, else those of the user's comparisons, else none."""
    if given:
        return PromptRows(source=SourceFile(given, "datasets"))
    return None if rows is None else PromptsOf(rows=rows)


def _recipe(
    chosen: Preset,
    demonstrations: Stage,
    compared: Stage | None,
    prompts: Stage,
    rank: int,
    seed: int,
    teacher: str,
) -> HeldoutEvaluation:
    own_settings = chosen.settings
    shared: dict[str, Any] = {"lora": adapter(rank), "seed": seed}
    base = chosen.base
    tuning: dict[str, Any] = {"base": base, **shared, **own_settings.get("sft", {})}
    sft = InstructionTuning(demonstrations=demonstrations, **tuning)
    pairs = None
    if compared is None:
        pairs = ComparisonPairs(policy=sft, prompts=prompts, seed=seed, **own_settings.get("pairs", {}))
    labels = compared or Annotation(
        pairs=pairs or sft, annotators=chosen.annotators, seed=seed, **own_settings.get("labels", {})
    )
    modeling: dict[str, Any] = {"base": sft, "comparisons": labels, **shared, **own_settings.get("rm", {})}
    rm = RewardModeling(**modeling)
    more = chosen.more_demonstrations if demonstrations is chosen.demonstrations else None
    learning: dict[str, Any] = {
        "method": PPO(kl=KLInReward(coef=0.3), epochs=1, minibatches=4),
        **shared,
        **own_settings.get("rl", {}),
    }
    learning |= _taught(teacher)
    rl = Reinforcement(
        policy=sft,
        reward=LearnedReward(model=rm, missing_eos_penalty=1.0),
        prompts=prompts,
        critic=rm,
        **learning,
    )
    control = RewardModeling(
        name="rm_shuffled",
        follows="rm",
        shuffled_labels=True,
        **{**modeling, "epochs": 1, "sft_coef": 0.0, "rows": CONTROL_ROWS},
    )
    return HeldoutEvaluation(
        base=base,
        sft=sft,
        final=rl,
        reward_model=rm,
        prompts=prompts,
        pairs=pairs,
        labels=labels if pairs is not None else None,
        control=control if chosen.shuffled_control else None,
        sft_4x=None
        if more is None
        else InstructionTuning(name="sft_4x", follows="sft", demonstrations=more, **tuning),
        seed=seed,
        **own_settings.get("evaluate", {}),
    )
