"""The cache of transformers' own forward, as a plain list of keys and values that rows may join and leave."""

from __future__ import annotations

from typing import Any

from transformers import DynamicCache


def growing_cache() -> Any:
    """Every column is kept in every layer, also where the model looks no further than a window: its mask
    sees to that, and columns that are dropped could not be moved.
    """
    return DynamicCache()
