"""Rejection sampling (Nakano et al. 2021; Touvron et al. 2023): of n answers to a prompt the one that the
reward model likes best is imitated. Beside it one of the n by lot.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from posttrain.pipeline.stage import Stage
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.presets import Evidence, on_more_prompts, with_controls
from posttrain.rewards.learned import LearnedReward
from posttrain.rollouts.choosing import best_overall, best_per_prompt, random_overall, random_per_prompt
from posttrain.stages.contest import Contest
from posttrain.stages.evaluate import Evaluation
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning

BY_LOT = "random_control: imitation of answers drawn by lot, which shows what the reward model is worth"
SLOWER = 2  # the first tuning's learning rate over that of imitation


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
) -> Stage:
    """Base model, instruction tuning, preferences, reward model, the best of n answers imitated, evaluation.

    The parameters are those of ``instructgpt``. overall: keep the best answers whichever prompts they answer,
    as many as there are prompts, in place of the best to each prompt. evidence: full imitates answers drawn
    by lot as well, the control of choosing.
    """
    told = cast(Evaluation, instructgpt(seed, model, base, demonstrations, comparisons, prompts, lora))
    sft, judge = cast(InstructionTuning, told.sft), cast(RewardModeling, told.reward_model)
    controlled = with_controls(evidence)
    kept = RejectionSampling(
        policy=sft,
        prompts=told.prompts,
        reward=LearnedReward(model=judge),
        choose=best_overall if overall else best_per_prompt,
        temperature=told.temperature,
        max_completion_length=told.max_completion_length,
        seed=seed,
    )
    by_lot = replace(kept, name="by_lot", choose=random_overall if overall else random_per_prompt)
    tuned = replace(
        sft, name="best_of_n", base=sft, demonstrations=kept, learning_rate=sft.learning_rate / SLOWER
    )
    control = replace(tuned, name="random_control", demonstrations=by_lot, as_control=True)
    return on_more_prompts(
        Contest(
            policies=(sft, tuned),
            controls=(control,) if controlled else (),
            prompts=told.prompts,
            reward_model=judge,
            temperature=told.temperature,
            max_completion_length=told.max_completion_length,
            seed=seed,
            left_out=() if controlled else (BY_LOT,),
        )
    )
