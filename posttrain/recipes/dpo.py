"""Direct preference optimization (Rafailov et al. 2023): demonstrations, comparisons, one supervised loss,
evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.kto import KTO
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.own_data import (
    GATE_IS_TOLD,
    JUDGE_SHARE,
    SLOWER,
    from_own_data,
    need_comparisons,
    with_finished_sft,
)
from posttrain.stages.alignment import Alignment
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import RatedRows
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning


def dpo(
    seed: int = 0,
    model: str = "field_guide",
    base: str = "",
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    lora: int = -1,
    ratings: str = "",
    sft: str = "",
    judge_share: float = JUDGE_SHARE,
) -> Stage:
    """Base model, instruction tuning, preferences, direct alignment (``alignment.method=ipo`` and so on).

    With base your model learns from your comparisons alone, or is tuned on your demonstrations before. The
    reward model, on your own data the judge, is trained for evaluation only; the controls of instruction
    tuning and reward modeling are left to ``instructgpt``.

    Parameters:
        seed: Seed of every stage.
        model: field_guide (the embedded model and world) or smollm2 (fetched once, trained with adapters).
        base: Your own model: a directory or a name on the hub; it learns from your files alone.
        demonstrations: Your rows {"messages": [...]}: a file, or a data set on the hub; the base is tuned on
            them first.
        comparisons: Your rows {"prompt", "chosen", "rejected"}.
        prompts: Your rows {"prompt"}; without them those of the comparisons are asked.
        lora: Rank of the adapters that are trained; 0 trains every weight, -1 is the model's own default.
        ratings: Your rows {"prompt", "completion", "label"} in place of comparisons, for KTO; they train no
            reward model, so the recipe ends with the aligned model.
        sft: A tuned model to begin at, in place of tuning the base: a directory or a name on the hub.
        judge_share: Share of your comparisons that trains a judge for the report in place of the policy; 0
            makes none.
    """
    if ratings and (comparisons or prompts):
        raise UserError("ratings stand in place of comparisons and prompts; give only one of them")
    files: dict[str, Any] = {"demonstrations": demonstrations, "comparisons": comparisons, "prompts": prompts}
    if base:
        if not ratings:
            need_comparisons("dpo", comparisons)
        own = from_own_data("dpo", seed, base, lora, model=model, sft=sft, judge_share=judge_share, **files)
        learned = _rated(ratings) if ratings else own.labels
        assert learned is not None  # comparisons were needed
        method = KTO() if ratings else DPO()
        aligned = Alignment(
            policy=own.policy, comparisons=learned, method=method, **own.aligning, **GATE_IS_TOLD
        )
        return aligned if ratings else own.compared(aligned)
    told = cast(HeldoutEvaluation, instructgpt(seed, model, lora=lora, **files))
    tuned, judge = cast(InstructionTuning, told.sft), cast(RewardModeling, told.reward_model)
    aligned = Alignment(
        policy=tuned,
        comparisons=_rated(ratings) if ratings else judge.comparisons,
        method=KTO() if ratings else DPO(),
        learning_rate=tuned.learning_rate / SLOWER,
        batch_size=judge.batch_size,
        max_length=judge.max_length,
        lora=tuned.lora,
        seed=seed,
    )
    return with_finished_sft(aligned if ratings else replace(told, final=aligned, left_out=()), sft)


def _rated(ratings: str) -> Stage:
    return RatedRows(source=SourceFile(ratings, "datasets"))
