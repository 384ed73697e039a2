"""Merges the choices of several annotators on one pair into one comparison with a confidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from posttrain.data.dedup import equal_items


def counted(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for every ``id``, in the order of first appearance; an ``id`` with one row keeps it unchanged.
    The rows of one ``id`` are in memory at a time.

    A pair is a ``tie`` where half or more of its annotators say tie, or where as many chose one answer as
    the other. Otherwise ``chosen`` is the majority's choice. ``confidence`` is ``(votes for it + 1/2) /
    (votes + 1)``, the posterior mean under Jeffreys's prior of the share of annotators who would choose it,
    over those who chose. ``margin`` is the mean of their margins, negative for those who chose the other
    answer, and at least 0.
    """
    for places in equal_items(json.dumps(row["id"]).encode() for row in rows):
        labels = [rows[index] for index in places]
        yield dict(labels[0]) if len(labels) == 1 else _together(labels)


def _together(labels: list[Mapping[str, Any]]) -> dict[str, Any]:
    voting = [row for row in labels if not row.get("tie")]
    if 2 * len(voting) <= len(labels):  # otherwise one noisy vote and three ties would be a comparison
        return {**labels[0], "tie": True}
    first = voting[0]
    alike = [row for row in voting if row["chosen"] == first["chosen"]]
    others = [row for row in voting if row["chosen"] != first["chosen"]]
    winner = first if len(alike) >= len(others) else others[0]
    most = max(len(alike), len(others))
    margins = [
        float(row.get("margin", 0.0)) * (1 if row["chosen"] == winner["chosen"] else -1) for row in voting
    ]
    return {
        **winner,
        "tie": len(alike) == len(others),
        "confidence": (most + 0.5) / (len(voting) + 1),
        "margin": max(sum(margins), 0.0) / len(voting),
        "annotator": "+".join(str(row.get("annotator", "")) for row in voting),
    }
