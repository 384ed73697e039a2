"""Judgements of one pair of answers, counted together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]


def pair_key(row: Row) -> str:
    """The same text for every row about these two answers to this prompt, whichever was chosen."""
    sides = sorted(json.dumps(row[name], sort_keys=True) for name in ("chosen", "rejected"))
    return json.dumps([row["prompt"], sides], sort_keys=True)


def soft_labels(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """One row a pair, in the order of first sight, and how many pairs were judged both ways.

    A row says that ``chosen`` is better with probability ``confidence`` (1 where it has none). The merged
    row's ``confidence`` is the mean over its rows that are no tie, so that the cross-entropy of a
    Bradley-Terry model on it has the same minimum as on the rows one by one: seven against three is 0.7.
    ``chosen`` is the answer with the greater share. Equal shares are a ``tie``, and so is a pair of which
    half or more of the rows say tie. ``margin`` is the mean of the rows' margins, those of the opposite
    choice negative, and at least 0. A pair's only row, where its confidence is above 1/2, stays unchanged.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(pair_key(row), []).append(row)
    merged, contested = [], 0
    for votes in groups.values():
        if len(votes) == 1 and votes[0].get("confidence", 1.0) > 0.5:
            merged.append(votes[0])
            continue
        choosing = [vote for vote in votes if not vote.get("tie")]
        if 2 * len(choosing) <= len(votes):
            merged.append({**votes[0], "tie": True, "votes": len(votes)})
            continue
        chosen = choosing[0]["chosen"]
        signed = [(float(vote.get("confidence", 1.0)), vote["chosen"] == chosen) for vote in choosing]
        shares = [sure if agrees else 1.0 - sure for sure, agrees in signed]
        others = [1.0 - sure if agrees else sure for sure, agrees in signed]
        contested += min(shares) < 0.5 < max(shares)
        made = _merged(choosing, math.fsum(shares) / len(shares), math.fsum(others) / len(shares))
        merged.append({**made, "votes": len(votes)})
    return merged, contested


def _merged(votes: list[Row], share: float, other: float) -> Row:
    """One row for several that choose; ``share`` of them is for the first one's chosen answer, ``other`` for
    the other answer.
    """
    row = dict(votes[0])
    if share < other:
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    row["confidence"] = max(share, other)
    if share == other:
        row["tie"] = True
    if any("margin" in vote for vote in votes):
        signs = [1 if vote["chosen"] == row["chosen"] else -1 for vote in votes]
        total = sum(sign * float(vote.get("margin", 0.0)) for sign, vote in zip(signs, votes))
        row["margin"] = max(total, 0.0) / len(votes)
    if any("annotator" in vote for vote in votes):
        row["annotator"] = "+".join(str(vote.get("annotator", "")) for vote in votes)
    return row
