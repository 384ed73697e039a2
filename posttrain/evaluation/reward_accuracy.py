"""How often a reward model prefers the answer that gold prefers, and what does as well without its skill."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.evaluation.gold import judge
from posttrain.evaluation.intervals import IntervalEstimate, wilson, with_interval

Figures = dict[str, float | int | str]
CLEAR = 0.5  # of the standard deviation of the gold of all answers


def gold_gaps(pairs: Sequence[Mapping[str, Any]]) -> tuple[list[float | None], float]:
    """Gold of a less gold of b of each pair (None where unknown), and what makes a gap clear."""
    totals: list[float] = []
    gaps: list[float | None] = []
    for pair in pairs:
        a = judge(pair, pair["a"], pair["ended_a"])
        b = judge(pair, pair["b"], pair["ended_b"])
        if a is None or b is None:
            gaps.append(None)
            continue
        totals += [a.total, b.total]
        gaps.append(a.total - b.total)
    return gaps, CLEAR * statistics.pstdev(totals) if totals else 0.0


def agreement(
    differences: Sequence[float], gaps: Sequence[float | None], least: float = 0.0
) -> IntervalEstimate:
    """The share of pairs whose difference (of scores, or words) has the sign of the gold gap.

    Pairs that gold ties, or whose gap is below ``least``, are left out; a difference of 0 is half right.
    """
    right, n = 0.0, 0
    for difference, gap in zip(differences, gaps, strict=True):
        if gap is None or gap == 0 or abs(gap) < least:
            continue
        n += 1
        right += 0.5 if difference == 0 else float((difference > 0) == (gap > 0))
    return wilson(right, n)


def accuracy(
    pairs: Sequence[Mapping[str, Any]],
    scores: Sequence[tuple[float, float]],
    control: Sequence[tuple[float, float]] | None = None,
    words_alone: Sequence[tuple[float, float]] | None = None,
) -> Figures:
    """``accuracy`` on all untied pairs, ``accuracy/clear`` where the gap is at least half the standard
    deviation of gold; ``control/word_count`` prefers the longer answer (or the shorter, whichever does
    better), ``control/shuffled`` is a reward model trained on shuffled labels, and ``control/bag_of_words``
    a linear model of word counts on the same comparisons.

    Args:
        scores: of a and b of each pair.
    """
    gaps, clear = gold_gaps(pairs)
    figures = _agreements("accuracy", scores, gaps, clear)
    words = [float(len(pair["a"].split()) - len(pair["b"].split())) for pair in pairs]
    by_words = max(
        agreement(words, gaps), agreement([-w for w in words], gaps), key=lambda estimate: estimate.value
    )
    figures |= with_interval("control/word_count", by_words)
    if control is not None:
        figures |= with_interval("control/shuffled", agreement([a - b for a, b in control], gaps))
    if words_alone is not None:
        figures |= _agreements("control/bag_of_words", words_alone, gaps, clear)
    figures["gold_ties"] = sum(gap == 0 for gap in gaps)
    return figures


def on_policy(
    pairs: Sequence[Mapping[str, Any]], scores: Sequence[tuple[float, float]], clear: float
) -> Figures:
    """``accuracy_on_policy``: the accuracy on pairs of the final policy's answers, on which the reward model
    was not trained but against which the policy was optimised.

    ``clear`` is the smallest gap of a clear pair, the same as for ``accuracy``.
    """
    return _agreements("accuracy_on_policy", scores, gold_gaps(pairs)[0], clear)


def _agreements(
    name: str, scores: Sequence[tuple[float, float]], gaps: Sequence[float | None], clear: float
) -> Figures:
    differences = [a - b for a, b in scores]
    figures = with_interval(name, agreement(differences, gaps))
    return figures | with_interval(f"{name}/clear", agreement(differences, gaps, clear))


def of_comparisons(pairs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Figures:
    """The quality of a reward model's data: ``comparisons_gold_tied_share``, the share of comparisons that
    gold ties, and ``comparisons_right_share``, of the others the share whose label agrees with gold.

    Args:
        pairs: what was labelled.
        rows: one a pair, ties left out (``feedback.votes.counted``).
    """
    gaps = dict(zip([pair["id"] for pair in pairs], gold_gaps(pairs)[0], strict=True))
    with_gold = [(gap, row["choice"]) for row in rows if (gap := gaps.get(row["id"])) is not None]
    if not with_gold:
        return {"comparisons_gold_tied_share": "unknown"}
    right = [(gap > 0) == (choice == "a") for gap, choice in with_gold if gap]
    return {
        "comparisons_gold_tied_share": sum(gap == 0 for gap, _ in with_gold) / len(with_gold),
        "comparisons_right_share": sum(right) / len(right) if right else "unknown",
    }


def of_annotators(pairs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Figures:
    """``annotators/NAME``: each annotator's agreement with gold where both decide;
    ``annotators``: the mean.
    """
    gaps = dict(zip([pair["id"] for pair in pairs], gold_gaps(pairs)[0], strict=True))
    hits: dict[str, list[bool]] = {}
    for row in rows:
        gap = gaps.get(row["id"])
        if gap and row.get("choice") in ("a", "b"):
            hits.setdefault(row["annotator"], []).append((gap > 0) == (row["choice"] == "a"))
    figures: Figures = {f"annotators/{name}": sum(x) / len(x) for name, x in sorted(hits.items())}
    mean: Figures = {
        "annotators": statistics.mean(float(v) for v in figures.values()) if figures else "unknown"
    }
    return mean | figures
