"""Which rows are trained on and which are kept to measure with."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from posttrain.pipeline.finding import UserError


def split(
    rows: list[dict[str, Any]], column: str, heldout_share: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and held-out rows; rows with the same prompt are on the same side, in whatever order they are.

    Raises UserError where nothing is left to train on.
    """
    train: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    for row in rows:
        asked = (
            [m for m in row[column] if m.get("role") != "assistant"] if column == "messages" else row[column]
        )
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
        (held if int.from_bytes(digest[:4], "big") < heldout_share * 2**32 else train).append(row)
    if not train:
        raise UserError(
            f"{len(rows)} rows: none is left to train on; give more rows, or heldout_share=0 "
            "after the name of the stage, such as labels.heldout_share=0"
        )
    return train, held
