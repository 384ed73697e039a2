"""A user's model in the place of the embedded one would learn from the embedded world, unasked."""

from __future__ import annotations

from pathlib import Path

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import MADE


def refuse(path: Path) -> None:
    """Raises UserError for a model that is no product of a recipe."""
    if not (path / MADE).is_file():
        raise UserError(
            "this recipe trains on the embedded world, from which a model of your own is to learn nothing; "
            "instructgpt, dpo, best_of_n, tulu3 and deepseek_r1_zero take base=DIR_OR_HUB_ID and your files"
        )
