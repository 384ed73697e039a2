"""InstructGPT (Ouyang et al. 2022): demonstrations, comparisons, a reward model, PPO with a critic,
evaluation.
"""

from __future__ import annotations

from dataclasses import replace

from posttrain.cost.scale import Paper
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.on_policy_distillation import OnPolicyDistillation
from posttrain.recipes.instructgpt_stages import InstructGPT, embedded_stages, learned_reward
from posttrain.recipes.own_data import (
    JUDGE_SHARE,
    TEMPERED,
    OwnData,
    from_own_data,
    need_comparisons,
    with_finished_sft,
)
from posttrain.recipes.presets import (
    Evidence,
    Objective,
    check_objective,
    in_place_of,
    on_more_prompts,
    with_controls,
)
from posttrain.settings import with_settings
from posttrain.stages.base import ExistingModel
from posttrain.stages.contest import Contest
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.rl import Reinforcement
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
        data = from_own_data(
            seed,
            base,
            lora,
            model=model,
            sft=sft,
            demonstrations=demonstrations,
            comparisons=comparisons,
            prompts=prompts,
            judge_share=judge_share,
        )
        mixed = _pretraining(text, base, seed) if ptx else None
        return _on_own_data(data, teacher, mixed, ptx, with_controls(evidence))
    stages = embedded_stages(
        seed,
        model,
        demonstrations=demonstrations,
        comparisons=comparisons,
        prompts=prompts,
        lora=lora,
        objective=objective,
    )
    if teacher:
        stages = in_place_of(stages, stages.rl, _distilling(stages.rl, teacher))
    full = with_controls(evidence)
    if ptx:
        return with_finished_sft(_remembering(stages, _pretraining(text, model, seed), ptx, full), sft)
    return with_finished_sft(_evaluated(stages, full), sft)


def _evaluated(stages: InstructGPT, full: bool) -> HeldoutEvaluation:
    """The evaluation with the controls; or without, naming what it leaves out."""
    control = sft_4x = None
    if stages.shuffled_control:
        control = replace(
            stages.rm,
            name="rm_shuffled",
            follows="rm",
            shuffled_labels=True,
            epochs=1,
            sft_coef=0.0,
            rows=CONTROL_ROWS,
        )
    if stages.more_demonstrations is not None:
        sft_4x = replace(stages.sft, name="sft_4x", follows="sft", demonstrations=stages.more_demonstrations)
    if full:
        return replace(stages.evaluate, control=control, sft_4x=sft_4x)
    controls = ((control, SHUFFLED), (sft_4x, MORE))
    return replace(stages.evaluate, left_out=tuple(text for stage, text in controls if stage is not None))


def _on_own_data(data: OwnData, teacher: str, text: Stage | None, ptx: float, full: bool) -> Stage:
    """Reward model and PPO on a user's files, judged by what learned from the rest of the comparisons."""
    if full and text is None:
        raise UserError(
            "evidence=full: the controls of instructgpt are measured by a gold reward, which your data have "
            "not; the judge and the held-out comparisons are there with evidence=quick"
        )
    assert data.labels is not None  # comparisons were needed
    assert data.prompts is not None
    rm = data.reward_model(data.labels)
    rl = with_settings(
        Reinforcement(
            policy=data.policy,
            reward=learned_reward(rm),
            prompts=data.prompts,
            critic=rm,
            learning_rate=data.rate / TEMPERED,
            critic_learning_rate=data.rate / 2,
            lora=data.lora,
            seed=data.seed,
        ),
        data.sizes.ppo,
        data.sizes.answers,
    )
    if teacher:
        rl = _distilling(rl, teacher)
    if text is None:
        return data.compared(rl, reward_model=rm)
    plain = replace(rl, name="plain_control", follows="rl")
    mixed = replace(rl, pretraining=text, pretraining_coef=ptx)
    contest = data.compared(
        mixed, reward_model=rm, controls=(plain,) if full else (), left_out=() if full else (PLAIN,)
    )
    return replace(contest, text=text)


def _distilling(rl: Reinforcement, teacher: str) -> Reinforcement:
    """The same stage with a model that is distilled in the place of reinforcement."""
    model = ExistingModel(name="teacher", source=SourceFile(teacher))
    return replace(rl, method=OnPolicyDistillation(), teacher=model)


def _pretraining(given: str, model: str, seed: int) -> Stage:
    """Text like that which the base has read."""
    if given:
        return TextRows(source=SourceFile(given, "datasets"))
    if model != "field_guide":
        raise UserError(
            f"what {model} read in pretraining is not known here; give text=FILE with rows {{text}}"
        )
    return PretrainingPages(seed=seed)


def _remembering(stages: InstructGPT, text: Stage, coef: float, full: bool) -> Stage:
    """PPO with pretraining text mixed in; ``full``: beside the same PPO without."""
    base, plain = stages.sft.base, replace(stages.rl, name="plain_control", follows="rl")
    return on_more_prompts(
        Contest(
            controls=(base, plain) if full else (base,),
            policies=(stages.sft, replace(stages.rl, pretraining=text, pretraining_coef=coef)),
            prompts=stages.evaluate.prompts,
            reward_model=stages.rm,
            text=text,
            max_completion_length=stages.evaluate.max_completion_length,
            seed=stages.evaluate.seed,
            left_out=() if full else (PLAIN,),
        )
    )
