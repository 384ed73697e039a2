"""Rejection sampling (Nakano et al. 2021; Touvron et al. 2023): of n answers to a prompt the one that the
reward model likes best is imitated. Beside it one of the n by lot.
"""

from __future__ import annotations

from dataclasses import replace

from posttrain.pipeline.stage import Stage
from posttrain.recipes.instructgpt_stages import embedded_stages
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
from posttrain.settings import with_settings
from posttrain.stages.contest import Contest
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
    full = with_controls(evidence)
    left_out = () if full else (BY_LOT,)
    if base:
        need_comparisons("best_of_n", comparisons)
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
        rm, best, tuned = _on_own_data(data, overall)
        controls = (_by_lot(tuned, best, overall),) if full else ()
        return data.compared(tuned, reward_model=rm, controls=controls, left_out=left_out)
    stages = embedded_stages(
        seed, model, demonstrations=demonstrations, comparisons=comparisons, prompts=prompts, lora=lora
    )
    first, evaluate = stages.sft, stages.evaluate
    best = RejectionSampling(
        policy=first,
        prompts=evaluate.prompts,
        reward=LearnedReward(model=stages.rm),
        choose=best_overall if overall else best_per_prompt,
        temperature=evaluate.temperature,
        max_completion_length=evaluate.max_completion_length,
        seed=seed,
    )
    rate = first.learning_rate / TEMPERED
    tuned = replace(first, name="best_of_n", base=first, demonstrations=best, learning_rate=rate)
    compared = Contest(
        policies=(first, tuned),
        controls=(_by_lot(tuned, best, overall),) if full else (),
        prompts=evaluate.prompts,
        reward_model=stages.rm,
        temperature=evaluate.temperature,
        max_completion_length=evaluate.max_completion_length,
        seed=seed,
        left_out=left_out,
    )
    return with_finished_sft(on_more_prompts(compared), sft)


def _on_own_data(data: OwnData, overall: bool) -> tuple[RewardModeling, RejectionSampling, InstructionTuning]:
    """The reward model that chooses, what it keeps, and who imitates that."""
    assert data.labels is not None  # comparisons were needed
    assert data.prompts is not None
    rm = data.reward_model(data.labels)
    best = RejectionSampling(
        policy=data.policy,
        prompts=data.prompts,
        reward=LearnedReward(model=rm),
        choose=best_overall if overall else best_per_prompt,
        seed=data.seed,
    )
    best = with_settings(best, data.sizes.rejection, data.sizes.answers)
    tuned = InstructionTuning(
        name="best_of_n",
        base=data.policy,
        demonstrations=best,
        learning_rate=data.rate / TEMPERED,
        lora=data.lora,
        seed=data.seed,
    )
    return rm, best, with_settings(tuned, data.sizes.fitting)


def _by_lot(tuned: InstructionTuning, best: RejectionSampling, overall: bool) -> InstructionTuning:
    """The same imitation of answers that were drawn by lot."""
    choose = random_overall if overall else random_per_prompt
    by_lot = replace(best, name="by_lot", follows="rejection", choose=choose)
    return replace(tuned, name="random_control", follows="best_of_n", as_control=True, demonstrations=by_lot)
