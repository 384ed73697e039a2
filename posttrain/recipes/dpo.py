"""Direct preference optimization (Rafailov et al. 2023): demonstrations, comparisons, one supervised loss,
evaluation.
"""

from __future__ import annotations

from dataclasses import replace

from posttrain.core.batch import DirectAlignment
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.kto import KTO
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.recipes.instructgpt_stages import InstructGPT, embedded_stages
from posttrain.recipes.own_data import (
    JUDGE_SHARE,
    SLOWER,
    OwnData,
    from_own_data,
    need_comparisons,
    with_finished_sft,
)
from posttrain.stages.alignment import Alignment
from posttrain.stages.labels import RatedRows


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
    method = KTO() if ratings else DPO()
    rated = RatedRows(source=SourceFile(ratings, "datasets")) if ratings else None
    if base:
        if rated is None:
            need_comparisons("dpo", comparisons)
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
            reward_model=False,
        )
        return _on_own_data(data, rated, method)
    stages = embedded_stages(
        seed, model, demonstrations=demonstrations, comparisons=comparisons, prompts=prompts, lora=lora
    )
    aligned = _aligned(stages, rated or stages.rm.comparisons, method)
    return with_finished_sft(aligned if rated is not None else replace(stages.evaluate, final=aligned), sft)


def _on_own_data(data: OwnData, rated: Stage | None, method: DirectAlignment) -> Stage:
    """The user's model aligned to their ratings, or to their comparisons and then compared with its start."""
    learned = rated or data.labels
    assert learned is not None  # comparisons were needed
    aligned = data.aligned(learned, method)
    return aligned if rated is not None else data.compared(aligned)


def _aligned(stages: InstructGPT, comparisons: Stage, method: DirectAlignment) -> Alignment:
    """The tuned model of an embedded world, aligned in batches as its reward model has them."""
    return Alignment(
        policy=stages.sft,
        comparisons=comparisons,
        method=method,
        learning_rate=stages.sft.learning_rate / SLOWER,
        batch_size=stages.rm.batch_size,
        max_length=stages.rm.max_length,
        lora=stages.sft.lora,
        seed=stages.sft.seed,
    )
