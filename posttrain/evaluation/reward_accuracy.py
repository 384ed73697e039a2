"""How often a reward model prefers the answer that gold prefers, and what does as well without its skill."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.evaluation.gold import judge
from posttrain.evaluation.intervals import wilson
from posttrain.metrics import IntervalEstimate, Metric, MetricKind, declare_metric

ACCURACY_GOLD = declare_metric(
    "accuracy",
    "Share of held-out pairs, those that gold ties left out, in which the reward model prefers the answer "
    "that gold prefers.",
    unit="share of pairs",
    better="up",
    where="report",
    axis="Agreement with gold on pairs",
    level="chance",
    title="agreement with gold",
    label="reward model",
)
ACCURACY_CLEAR = declare_metric(
    "accuracy/clear",
    "The same of pairs whose gap in gold is at least half the standard deviation of the gold of all answers.",
    unit="share of pairs",
    better="up",
    axis="Agreement with gold on pairs",
    level="chance",
    label="reward model, clear pairs",
)
ON_POLICY = declare_metric(
    "accuracy_on_policy",
    "Share of pairs of the final policy's answers in which the reward model prefers the answer that gold "
    "prefers.",
    unit="share of pairs",
    better="up",
    axis="Agreement with gold on pairs",
    level="chance",
    label="reward model, the final policy's answers",
)
ON_POLICY_CLEAR = declare_metric(
    "accuracy_on_policy/clear",
    "The same of pairs of the final policy's answers whose gap in gold is clear.",
    unit="share of pairs",
    better="up",
    axis="Agreement with gold on pairs",
    level="chance",
    label="reward model, the final policy's answers, clear pairs",
)
BY_WORD_COUNT = declare_metric(
    "control/word_count",
    "Agreement with gold of preferring the longer answer, or the shorter one, whichever does better.",
    unit="share of pairs",
    better="none",
    axis="Agreement with gold on pairs",
    level="chance",
    label="word count",
    baseline=True,
)
BY_SHUFFLED = declare_metric(
    "control/shuffled",
    "Agreement with gold of a reward model that was trained on shuffled labels.",
    unit="share of pairs",
    better="none",
    axis="Agreement with gold on pairs",
    level="chance",
    label="shuffled labels",
    baseline=True,
)
BY_BAG_OF_WORDS = declare_metric(
    "control/bag_of_words",
    "Agreement with gold of a linear model of word counts that learned from the same comparisons.",
    unit="share of pairs",
    better="none",
    axis="Agreement with gold on pairs",
    level="chance",
    label="words alone",
    baseline=True,
)
BY_BAG_OF_WORDS_CLEAR = declare_metric(
    "control/bag_of_words/clear",
    "The same of clear pairs.",
    unit="share of pairs",
    better="none",
    axis="Agreement with gold on pairs",
    level="chance",
    label="words alone, clear pairs",
    baseline=True,
)
GOLD_TIES = declare_metric(
    "gold_ties",
    "Held-out pairs that gold ties.",
    unit="pairs",
    better="none",
    title="pairs that gold ties",
)
GOLD_TIED_SHARE = declare_metric(
    "comparisons_gold_tied_share",
    "Share of the training comparisons whose answers gold ties.",
    unit="share of comparisons",
    better="down",
)
RIGHT_SHARE = declare_metric(
    "comparisons_right_share",
    "Share of the other training comparisons that the annotators' votes decided as gold does.",
    unit="share of comparisons",
    better="up",
)
ANNOTATOR = declare_metric(
    "annotators/{annotator}",
    "Share of held-out pairs that the annotator {annotator} decided as gold does.",
    unit="share of pairs",
    better="none",
    axis="Agreement with gold on pairs",
    level="chance",
    label="annotator: {annotator}",
    baseline=True,
)
ANNOTATORS = declare_metric(
    "annotators",
    "Agreement of an annotator with gold on held-out pairs, mean over annotators.",
    unit="share of pairs",
    better="none",
    axis="Agreement with gold on pairs",
    level="chance",
    label="mean annotator",
    baseline=True,
)

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
) -> dict[str, Metric]:
    """``accuracy`` on all untied pairs, ``accuracy/clear`` where the gap is at least half the standard
    deviation of gold; ``control/word_count`` prefers the longer answer (or the shorter, whichever does
    better), ``control/shuffled`` is a reward model trained on shuffled labels, and ``control/bag_of_words``
    a linear model of word counts on the same comparisons.

    Args:
        scores: of a and b of each pair.
    """
    gaps, clear = gold_gaps(pairs)
    metrics = _agreements((ACCURACY_GOLD, ACCURACY_CLEAR), scores, gaps, clear)
    words = [float(len(pair["a"].split()) - len(pair["b"].split())) for pair in pairs]
    by_words = max(
        agreement(words, gaps), agreement([-w for w in words], gaps), key=lambda estimate: estimate.value
    )
    metrics |= BY_WORD_COUNT.of(by_words)
    if control is not None:
        metrics |= BY_SHUFFLED.of(agreement([a - b for a, b in control], gaps))
    if words_alone is not None:
        kinds = (BY_BAG_OF_WORDS, BY_BAG_OF_WORDS_CLEAR)
        metrics |= _agreements(kinds, words_alone, gaps, clear)
    return metrics | GOLD_TIES.of(sum(gap == 0 for gap in gaps))


def on_policy(
    pairs: Sequence[Mapping[str, Any]], scores: Sequence[tuple[float, float]], clear: float
) -> dict[str, Metric]:
    """``accuracy_on_policy``: the accuracy on pairs of the final policy's answers, on which the reward model
    was not trained but against which the policy was optimised.

    ``clear`` is the smallest gap of a clear pair, the same as for ``accuracy``.
    """
    return _agreements((ON_POLICY, ON_POLICY_CLEAR), scores, gold_gaps(pairs)[0], clear)


def _agreements(
    kinds: tuple[MetricKind, MetricKind],
    scores: Sequence[tuple[float, float]],
    gaps: Sequence[float | None],
    clear: float,
) -> dict[str, Metric]:
    """Of all pairs, and of those with a gap of at least ``clear``."""
    differences = [a - b for a, b in scores]
    of_all, of_clear = kinds
    metrics = of_all.of(agreement(differences, gaps))
    return metrics | of_clear.of(agreement(differences, gaps, clear))


def of_comparisons(
    pairs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Metric]:
    """The quality of a reward model's data: ``comparisons_gold_tied_share``, the share of comparisons that
    gold ties, and ``comparisons_right_share``, of the others the share whose label agrees with gold.

    Args:
        pairs: what was labelled.
        rows: one a pair, ties left out (``feedback.votes.counted``).
    """
    gaps = dict(zip([pair["id"] for pair in pairs], gold_gaps(pairs)[0], strict=True))
    with_gold = [(gap, row["choice"]) for row in rows if (gap := gaps.get(row["id"])) is not None]
    if not with_gold:
        return GOLD_TIED_SHARE.of("unknown")
    right = [(gap > 0) == (choice == "a") for gap, choice in with_gold if gap]
    tied = GOLD_TIED_SHARE.of(sum(gap == 0 for gap, _ in with_gold) / len(with_gold))
    return tied | RIGHT_SHARE.of(sum(right) / len(right) if right else "unknown")


def of_annotators(pairs: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """``annotators/NAME``: each annotator's agreement with gold where both decide;
    ``annotators``: the mean.
    """
    gaps = dict(zip([pair["id"] for pair in pairs], gold_gaps(pairs)[0], strict=True))
    hits: dict[str, list[bool]] = {}
    for row in rows:
        gap = gaps.get(row["id"])
        if gap and row.get("choice") in ("a", "b"):
            hits.setdefault(row["annotator"], []).append((gap > 0) == (row["choice"] == "a"))
    shares = {name: sum(right) / len(right) for name, right in sorted(hits.items())}
    metrics = ANNOTATORS.of(statistics.mean(shares.values()) if shares else "unknown")
    for name, share in shares.items():
        metrics |= ANNOTATOR.of(share, annotator=name)
    return metrics
