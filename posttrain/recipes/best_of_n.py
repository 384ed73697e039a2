"""Rejection sampling (Nakano et al. 2021; Touvron et al. 2023): of n answers to a prompt the one that the
reward model likes best is imitated. Beside it one of the n by lot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from posttrain.pipeline.stage import Stage
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.own_data import (
    JUDGE_SHARE,
    TEMPERED,
    OwnData,
    from_own_data,
    need_comparisons,
    with_finished_sft,
)
from posttrain.recipes.presets import Evidence, on_more_prompts, with_controls
from posttrain.rewards.learned import LearnedReward
from posttrain.rollouts.choosing import best_overall, best_per_prompt, random_overall, random_per_prompt
from posttrain.stages.contest import Contest
from posttrain.stages.evaluate import Evaluation
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning

BY_LOT = "random_control: imitation of answers drawn by lot, which shows what the reward model is worth"


def best_of_n(  # size: the recipe's parameters, each a word on the command line
    seed: int = 0,
    model: str = "field_guide",
    base: str = "",
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    lora: int = -1,
    overall: bool = False,
    evidence: Evidence = "quick",
    sft: str = "",
    judge_share: float = JUDGE_SHARE,
) -> Stage:
    """Base model, instruction tuning, preferences, reward model, the best of n answers imitated, evaluation.

    The parameters are those of ``instructgpt``; with base your model learns from your files alone. overall:
    keep the best answers whichever prompts they answer, as many as there are prompts, in place of the best to
    each prompt. evidence: full imitates answers drawn by lot as well, the control of choosing.
    """
    files: dict[str, Any] = {"demonstrations": demonstrations, "comparisons": comparisons, "prompts": prompts}
    controlled = with_controls(evidence)
    left_out = () if controlled else (BY_LOT,)
    if base:
        need_comparisons("best_of_n", comparisons)
        own = from_own_data(
            "best_of_n", seed, base, lora, model=model, sft=sft, judge_share=judge_share, **files
        )
        rm, kept, tuned = _on_own_data(own, overall)
        controls = (_by_lot(tuned, kept, overall),) if controlled else ()
        return own.compared(tuned, reward_model=rm, controls=controls, left_out=left_out)
    told = cast(Evaluation, instructgpt(seed, model, lora=lora, **files))
    first, judge = cast(InstructionTuning, told.sft), cast(RewardModeling, told.reward_model)
    kept = RejectionSampling(
        policy=first,
        prompts=told.prompts,
        reward=LearnedReward(model=judge),
        choose=best_overall if overall else best_per_prompt,
        temperature=told.temperature,
        max_completion_length=told.max_completion_length,
        seed=seed,
    )
    rate = first.learning_rate / TEMPERED
    tuned = replace(first, name="best_of_n", base=first, demonstrations=kept, learning_rate=rate)
    compared = Contest(
        policies=(first, tuned),
        controls=(_by_lot(tuned, kept, overall),) if controlled else (),
        prompts=told.prompts,
        reward_model=judge,
        temperature=told.temperature,
        max_completion_length=told.max_completion_length,
        seed=seed,
        left_out=left_out,
    )
    return with_finished_sft(on_more_prompts(compared), sft)


def _on_own_data(own: OwnData, overall: bool) -> tuple[RewardModeling, RejectionSampling, InstructionTuning]:
    """The reward model that chooses, what it keeps, and who imitates that."""
    assert own.labels is not None  # comparisons were needed
    assert own.prompts is not None
    rm = RewardModeling(base=own.policy, comparisons=own.labels, **own.modeling)
    kept = RejectionSampling(
        policy=own.policy,
        prompts=own.prompts,
        reward=LearnedReward(model=rm),
        choose=best_overall if overall else best_per_prompt,
        seed=own.shared["seed"],
        **own.sizes["rejection"],
        **own.sizes["answers"],
    )
    imitating: dict[str, Any] = {**own.fit, **own.learning}
    return rm, kept, InstructionTuning(name="best_of_n", base=own.policy, demonstrations=kept, **imitating)


def _by_lot(tuned: InstructionTuning, kept: RejectionSampling, overall: bool) -> InstructionTuning:
    """The same imitation of answers that were drawn by lot."""
    choose = random_overall if overall else random_per_prompt
    by_lot = replace(kept, name="by_lot", follows="rejection", choose=choose)
    named: dict[str, Any] = {"name": "random_control", "follows": "best_of_n", "as_control": True}
    return replace(tuned, demonstrations=by_lot, **named)
