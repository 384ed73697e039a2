"""Whether a stage can use a model at all, and whether its settings suit it; told before anything is made."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from posttrain.checks import rows_fit
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import LANGUAGE, kind_of
from posttrain.pipeline.stage import SAMPLES, SCALAR, Stage


def check(stage: Stage, model: Path) -> list[Finding]:
    """What the stage ``needs`` of the model that it grows from, then the lengths of its rows. Weights are not
    read. Raises UserError for a family that the stage cannot use.
    """
    if stage.needs:
        from posttrain.models.abilities import abilities_of

        abilities = abilities_of(model)
        if SCALAR in stage.needs and not abilities.scalar:
            raise UserError(
                f"transformers has no {abilities.family} with a head of one label, so {model} can become "
                f"neither a reward model nor a critic; {WITHOUT_SCALAR}"
            )
        if SAMPLES in stage.needs and not abilities.sampled:
            raise UserError(
                f"answers cannot be sampled from {model}: {abilities.family} in transformers takes no "
                "position_ids, which batched generation needs; take a model of another family "
                "(docs/models.md)"
            )
    return rows_fit.check(stage, model)


def usable(stage: Stage, model: Path) -> None:
    """Raises UserError for a directory in an input's place that has no config, weights and tokenizer as
    transformers loads them, or a chat template that cannot show messages as they are. Weights are not read.
    """
    if message := _unusable(model, _stamp(model)):
        raise UserError(message)


def _stamp(model: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of its files: a directory that changed is looked at again."""
    return tuple(
        sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in model.iterdir() if p.exists())
    )


@lru_cache(maxsize=16)  # several stages grow from one model
def _unusable(model: Path, stamp: tuple[tuple[str, int, int], ...]) -> str:
    """What is wrong with a directory of config, weights and tokenizer; empty where nothing is."""
    from posttrain.models.chat import Chat
    from posttrain.models.directory import check_directory
    from posttrain.models.loading import load_tokenizer

    try:
        check_directory(model)
        tokenizer = load_tokenizer(model)
    except UserError as error:
        return str(error)
    try:
        if kind_of(model) == LANGUAGE:
            Chat(tokenizer)
    except UserError as error:
        return f"{model}: {error}"
    return ""


WITHOUT_SCALAR = (
    "take a recipe that needs neither (dpo with judge_share=0, deepseek_r1_zero), "
    "or a model of another family"
)
