"""Several annotators on one pair become one comparison: what most of them chose, and how sure that makes
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from posttrain.data.alike import together


def counted(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for every ``id``, in the order of first sight; a row that stands alone is as it was. Those of
    one ``id`` are in memory at a time.

    A pair is a ``tie`` where half or more of its annotators say tie, or where as many chose one answer as
    the other. Otherwise ``chosen`` is what most chose; ``confidence`` is
    ``(votes for it + 1/2) / (votes + 1)``, the posterior mean of the share of annotators who would choose it
    under Jeffreys's prior, over those who chose. ``margin`` is the mean of theirs, with a minus for who chose
    the other, and not below 0.
    """
    for places in together(json.dumps(row["id"]).encode() for row in rows):
        seen = [rows[place] for place in places]
        yield dict(seen[0]) if len(seen) == 1 else _together(seen)


def _together(seen: list[Mapping[str, Any]]) -> dict[str, Any]:
    voting = [row for row in seen if not row.get("tie")]
    if 2 * len(voting) <= len(seen):  # one noisy vote beside three ties would else be a comparison
        return {**seen[0], "tie": True}
    first = voting[0]
    alike = [row for row in voting if row["chosen"] == first["chosen"]]
    others = [row for row in voting if row["chosen"] != first["chosen"]]
    winner = first if len(alike) >= len(others) else others[0]
    most = max(len(alike), len(others))
    told = [
        float(row.get("margin", 0.0)) * (1 if row["chosen"] == winner["chosen"] else -1) for row in voting
    ]
    return {
        **winner,
        "tie": len(alike) == len(others),
        "confidence": (most + 0.5) / (len(voting) + 1),
        "margin": max(sum(told), 0.0) / len(voting),
        "annotator": "+".join(str(row.get("annotator", "")) for row in voting),
    }
