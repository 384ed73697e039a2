"""Tulu 3 (Lambert et al. 2024): instruction tuning, preferences on the policy's own answers with
length-normalised DPO, then reinforcement with verifiable rewards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from posttrain.core.kl import KLInReward
from posttrain.cost.scale import Paper
from posttrain.direct_alignment.dpo import DPO
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.own_data import (
    GATE_IS_TOLD,
    JUDGE_SHARE,
    OwnData,
    from_own_data,
    need_comparisons,
    with_finished_sft,
)
from posttrain.recipes.presets import known_problems, on_more_prompts, verifiable_world, verified_by
from posttrain.rewards.base import RewardSource
from posttrain.rewards.constraints import Constraints
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.stages.alignment import Alignment
from posttrain.stages.contest import Contest
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import Annotation
from posttrain.stages.mixture import Mixture, Source
from posttrain.stages.pairs import ComparisonPairs
from posttrain.stages.problems import Questions, WorkedAnswers
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning

PAPER = Paper(
    title="Lambert et al. 2024, 8B",
    scale=(
        ("sft", "939 thousand demonstrations, 2 epochs"),
        ("alignment", "about 270 thousand pairs, on-policy and off-policy, 1 epoch; beta 5 per token"),
        ("rl", "29,946 prompts: GSM8K, MATH and verifiable constraints; PPO"),
    ),
)
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "field_guide": {
        "worked": {"rows": 2000},
        "pairs": {"rows": 2000, "answers": 3},
        "alignment": {"method": DPO(beta=5.0, length_normalised=True), "learning_rate": 1.4e-4},
        "rl": {"steps": 40, "prompts_per_step": 24, "group_size": 8, "learning_rate": 2.5e-4},
    },
    "smollm2": {
        "pairs": {"rows": 480, "heldout": 120},
        "alignment": {
            "method": DPO(beta=5.0, length_normalised=True),
            "learning_rate": 2e-4,
            "compute": "bfloat16",
        },
        "rl": {
            "steps": 48,
            "prompts_per_step": 8,
            "group_size": 4,
            "learning_rate": 4e-4,
            "compute": "bfloat16",
        },
    },
}


def tulu3(  # size: the recipe's parameters, each a word on the command line
    seed: int = 0,
    model: str = "field_guide",
    problems: str = "",
    verifier: str = "",
    base: str = "",
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    lora: int = -1,
    sft: str = "",
    judge_share: float = JUDGE_SHARE,
) -> Stage:
    """Base model, instruction tuning, on-policy preference pairs, DPO, RLVR, and every stage measured.

    With base your model learns from your files alone: it is tuned first where there are demonstrations,
    aligned with your comparisons as they are, and paid for your problems.

    Parameters:
        seed: Seed of every stage.
        model: field_guide (sums to work out and words to reverse are its verifiable problems) or smollm2
            (constraints that a program checks).
        problems: Your rows {"prompt", "answer"} instead; or reasoning_gym:TASK,TASK.
        verifier: What pays for answers and counts what is solved: a file of posttrain/rewards, such as
            math_answer or code_tests. Your problems have final_answer where none is named.
        base: Your own model: a directory or a name on the hub; it learns from your files alone.
        demonstrations: Your rows {"messages": [...]}: a file, or a data set on the hub; the base is tuned on
            them first.
        comparisons: Your rows {"prompt", "chosen", "rejected"}.
        prompts: Your rows {"prompt"}; without them those of the comparisons are asked.
        lora: Rank of the adapters that are trained; 0 trains every weight, -1 is the model's own default.
        sft: A tuned model to begin at, in place of tuning the base: a directory or a name
            on the hub.
        judge_share: Share of your comparisons that trains a judge for the report in place of the policy; 0
            makes none.
    """
    files: dict[str, Any] = {"demonstrations": demonstrations, "comparisons": comparisons, "prompts": prompts}
    if base:
        need_comparisons("tulu3", comparisons)
        if not problems:
            raise UserError(
                "tulu3 on a model of your own needs problems of yours too: give problems=FILE, rows {prompt, "
                "answer}; without any, posttrain run dpo stops at the preferences"
            )
        own = from_own_data("tulu3", seed, base, lora, model=model, sft=sft, judge_share=judge_share, **files)
        return _on_own_data(own, problems, verifier)
    if given := [f"{name}=" for name, file in files.items() if file] + ["lora="] * (lora >= 0):
        raise UserError(f"tulu3 takes {', '.join(given)} beside a model of your own: give base=DIR_OR_HUB_ID")
    if model not in SETTINGS:
        raise UserError(f"model={model}: expected one of {', '.join(SETTINGS)}")
    told = cast(HeldoutEvaluation, instructgpt(seed, verifiable_world(model)))
    judge, settings = cast(RewardModeling, told.reward_model), SETTINGS[model]
    tuned = _skilled(cast(InstructionTuning, told.sft), settings.get("worked", {}), seed)
    pairs = replace(cast(ComparisonPairs, told.pairs), policy=tuned, **settings["pairs"])
    aligned = Alignment(
        policy=tuned,
        comparisons=replace(cast(Annotation, told.labels), pairs=pairs),
        batch_size=judge.batch_size,
        max_length=judge.max_length,
        lora=tuned.lora,
        seed=seed,
        **settings["alignment"],
    )
    asked, pays = known_problems(problems, seed) if problems else verifiable(model, seed, told.prompts)
    pays = verified_by(verifier, pays)
    rl = Reinforcement(
        policy=aligned,
        reward=pays,
        prompts=asked,
        max_completion_length=told.max_completion_length,
        lora=tuned.lora,
        seed=seed,
        **{"method": GRPO(kl=KLInReward(coef=0.05)), **settings["rl"]},
    )
    compared = Contest(
        policies=(tuned, aligned, rl),
        prompts=told.prompts,
        problems=asked,
        verifier=pays,
        max_completion_length=told.max_completion_length,
        seed=seed,
    )
    return with_finished_sft(on_more_prompts(compared), sft)


def _on_own_data(own: OwnData, problems: str, verifier: str) -> Stage:
    """Direct alignment on the user's own comparisons, then reinforcement on the user's problems."""
    assert own.labels is not None  # comparisons were needed
    asked, pays = known_problems(problems, own.shared["seed"])
    asked, pays = replace(asked, name="problems"), verified_by(verifier, pays)
    aligned = Alignment(
        policy=own.policy,
        comparisons=own.labels,
        method=DPO(beta=5.0, length_normalised=True),
        **own.aligning,
        **GATE_IS_TOLD,
    )
    rl = Reinforcement(
        policy=aligned,
        reward=pays,
        prompts=asked,
        **{
            "method": GRPO(kl=KLInReward(coef=0.05)),
            **own.learning,
            **own.sizes["rlvr"],
            **own.sizes["reasoning"],
        },
    )
    return own.compared(aligned, rl, problems=asked, verifier=pays, **own.sizes["reasoning"])


def _skilled(sft: InstructionTuning, worked: dict[str, Any], seed: int) -> InstructionTuning:
    """Instruction tuning on demonstrations of the skills to be reinforced beside those of everything else."""
    if not worked:
        return sft
    sources = (
        Source(name="general", rows=sft.demonstrations, weight=3.0),
        Source(name="worked", rows=WorkedAnswers(seed=seed, **worked)),
    )
    return replace(sft, demonstrations=Mixture(sources=sources, seed=seed))


def verifiable(model: str, seed: int, prompts: Stage) -> tuple[Stage, RewardSource]:
    """Problems of a model's world, and who verifies their answers."""
    if model == "smollm2":
        return prompts, Constraints()
    return Questions(heldout=800, known_wordings=True, seed=seed), ExactAnswer()
