"""Whether a stage can use a model at all, and whether its settings suit it; told before anything is made."""

from __future__ import annotations

from pathlib import Path

from posttrain.checks import rows_fit
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import SAMPLES, SCALAR, Stage


def check(stage: Stage, model: Path) -> list[Finding]:
    """What the stage ``needs`` of the model that it grows from, then the lengths of its rows. Weights are not
    read. Raises UserError for a family that the stage cannot use.
    """
    if stage.needs:
        from posttrain.models.abilities import abilities_of

        found = abilities_of(model)
        if SCALAR in stage.needs and not found.scalar:
            raise UserError(
                f"transformers has no {found.family} with a head of one label, so {model} can become neither "
                f"a reward model nor a critic; {WITHOUT_SCALAR}"
            )
        if SAMPLES in stage.needs and not found.sampled:
            raise UserError(
                f"answers cannot be sampled from {model}: {found.family} in transformers takes no "
                "position_ids, which batched generation needs; take a model of another family "
                "(docs/models.md)"
            )
    return rows_fit.check(stage, model)


WITHOUT_SCALAR = (
    "take a recipe that needs neither (dpo with judge_share=0, deepseek_r1_zero), "
    "or a model of another family"
)
