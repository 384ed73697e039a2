"""How sure a reward model is of what it prefers, and how much of that is the answers' length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posttrain.evaluation.intervals import fisher, wilson
from posttrain.metrics import Metric, declare_metric

CONFIDENCE = declare_metric(
    "confidence_heldout",
    "Mean of sigmoid(|gap|) over held-out comparisons: the accuracy that the reward model would have if it "
    "were calibrated.",
    unit="share of comparisons",
    better="none",
    title="how sure it is on held-out comparisons",
)
PREFERS_LONGER = declare_metric(
    "prefers_longer",
    "Share of held-out comparisons of unequal lengths in which the longer answer scores higher; ties as "
    "half.",
    unit="share of comparisons",
    better="none",
)
SCORE_LENGTH = declare_metric(
    "score_length",
    "Correlation of the difference in score with that in length over held-out comparisons of unequal "
    "lengths.",
    unit="correlation",
    better="none",
    title="correlation of score with length",
)
LABEL_ACCURACY_UNEVEN = declare_metric(
    "label_accuracy_uneven",
    "Share of held-out comparisons of unequal lengths in which the chosen answer scores higher; ties as "
    "half.",
    unit="share of comparisons",
    better="up",
)
LONGER_CHOSEN = declare_metric(
    "longer_chosen",
    "Share of held-out comparisons of unequal lengths in which people chose the longer answer.",
    unit="share of comparisons",
    better="none",
)


def sure_and_long(gaps: Tensor, longer: Sequence[int]) -> dict[str, Metric]:
    """``confidence_heldout``, the mean of ``sigmoid(|gap|)``, which is the accuracy of a calibrated
    Bradley-Terry model (Guo et al. 2017, without their bins). Then, of the comparisons of answers of unequal
    length, ties as half: ``prefers_longer``, how often the longer one scores higher; ``score_length``, the
    correlation of the difference in score with that in length, over both orders of each pair, so that it is
    0 where length tells nothing and 1 or -1 where it tells all; ``label_accuracy_uneven``, how often the
    chosen one scores higher; and ``longer_chosen``, how often the longer one was chosen. The first two have
    their intervals.

    Args:
        gaps: [n] scores of chosen less rejected answers.
        longer: by how many tokens the chosen answer is the longer one.
    """
    sure = gaps.double().abs().sigmoid().mean()
    more = torch.tensor(longer, dtype=torch.float64)
    uneven = more != 0
    gap, more = gaps.double().cpu()[uneven], more[uneven]
    n = len(gap)
    metrics = CONFIDENCE.of(float(sure)) | PREFERS_LONGER.of(wilson(_share(gap * more), n))
    if n:
        length = float((gap * more).sum() / (gap.square().sum() * more.square().sum()).sqrt())
        metrics |= SCORE_LENGTH.of(fisher(length, n))
        metrics |= LABEL_ACCURACY_UNEVEN.of(_share(gap) / n) | LONGER_CHOSEN.of(_share(more) / n)
    return metrics


def _share(signs: Tensor) -> float:
    """How many are above 0, ties as half."""
    return float((signs > 0).sum() + (signs == 0).sum() / 2)
