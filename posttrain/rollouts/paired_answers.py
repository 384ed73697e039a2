"""Several answers to each prompt as pairs to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from posttrain.rewards.base import Episode


def paired(episodes: Sequence[Episode], answers: int) -> tuple[list[dict[str, Any]], int]:
    """Every two different answers to one prompt, as rows {"id", "prompt", "item", "a", "b", "ended_a",
    "ended_b"}, and how many pairs of equal answers were left out. Each ``answers`` neighbours share a prompt.
    """
    rows, equal = [], 0
    for start in range(0, len(episodes), answers):
        for i, j in combinations(range(start, start + answers), 2):
            a, b = episodes[i], episodes[j]
            if (a.response, a.ended) == (b.response, b.ended) or not (
                a.response.strip() and b.response.strip()
            ):
                equal += 1
                continue
            rows.append(
                {
                    "id": f"{a.prompt['id']}/{i - start}-{j - start}",
                    "prompt": a.prompt["prompt"],
                    "item": a.prompt.get("item"),
                    "a": a.response,
                    "b": b.response,
                    "ended_a": a.ended,
                    "ended_b": b.ended,
                }
            )
    return rows, equal
