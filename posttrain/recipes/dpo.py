"""Direct preference optimization (Rafailov et al. 2023): demonstrations, comparisons, one supervised loss,
evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.kto import KTO
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.recipes.instructgpt import instructgpt
from posttrain.stages.alignment import Alignment
from posttrain.stages.evaluate import Evaluation
from posttrain.stages.labels import RatedRows
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning

SLOWER = 5  # instruction tuning's learning rate over that of alignment


def dpo(  # size: the recipe's parameters, each a word on the command line
    seed: int = 0,
    model: str = "field_guide",
    base: str = "",
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    lora: int = -1,
    ratings: str = "",
) -> Stage:
    """Base model, instruction tuning, preferences, direct alignment (``alignment.method=ipo`` and so on).

    The parameters are those of ``instructgpt``. The reward model is trained as well, for evaluation only; the
    controls of instruction tuning and reward modeling are left to ``instructgpt``. ratings: your rows
    {"prompt", "completion", "label"} in place of comparisons, for KTO; they train no reward model to evaluate
    with, so the recipe ends with the aligned model.
    """
    if ratings and (comparisons or prompts):
        raise UserError("ratings stand in place of comparisons and prompts; give only one of them")
    told = cast(Evaluation, instructgpt(seed, model, base, demonstrations, comparisons, prompts, lora))
    sft, judge = cast(InstructionTuning, told.sft), cast(RewardModeling, told.reward_model)
    aligned = Alignment(
        policy=sft,
        comparisons=RatedRows(source=SourceFile(ratings, "datasets")) if ratings else judge.comparisons,
        method=KTO() if ratings else DPO(),
        learning_rate=sft.learning_rate / SLOWER,
        batch_size=judge.batch_size,
        max_length=judge.max_length,
        lora=sft.lora,
        seed=seed,
    )
    return aligned if ratings else replace(told, final=aligned, left_out=())
