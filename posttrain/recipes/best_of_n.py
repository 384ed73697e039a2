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
from posttrain.rollouts.rejection_rules import (
    best_overall,
    best_per_prompt,
    random_overall,
    random_per_prompt,
)
from posttrain.stages.contest import Contest
from posttrain.stages.evaluate import HeldoutEvaluation
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

    Parameters:
        seed: Seed of every stage.
        model: field_guide (the embedded model and world) or smollm2 (fetched once, trained with adapters).
        base: Your own model: a directory or a name on the hub; it learns from your files alone.
        demonstrations: Your rows {"messages": [...]}: a file, or a data set on the hub; the base is tuned on
            them first.
        comparisons: Your rows {"prompt", "chosen", "rejected"}.
        prompts: Your rows {"prompt"}; without them those of the comparisons are asked.
        lora: Rank of the adapters that are trained; 0 trains every weight, -1 is the model's own default.
        overall: The best answers are kept whichever prompts they answer, as many as there are prompts.
        evidence: full also imitates answers drawn by lot, the control of choosing.
        sft: A tuned model to begin at, in place of tuning the base: a directory or a name
            on the hub.
        judge_share: Share of your comparisons that trains a judge for the report in place of the policy; 0
            makes none.
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
    told = cast(HeldoutEvaluation, instructgpt(seed, model, lora=lora, **files))
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
