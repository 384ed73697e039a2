"""The confidence of a reward model in its preferences, and how far its scores follow the
length of answers.
"""

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


def confidence_and_length(gaps: Tensor, longer: Sequence[int]) -> dict[str, Metric]:
    """Confidence of a reward model on held-out comparisons, and how far its scores follow length.

    ``confidence_heldout`` is the mean of ``sigmoid(|gap|)``, the accuracy of a calibrated Bradley-Terry
    model (Guo et al. 2017, without their bins). The others are over comparisons of answers of unequal
    length, a tie as half: ``prefers_longer``, how often the longer one scores higher; ``score_length``, the
    correlation of the difference in score with that in length, over both orders of each pair, so that it is
    0 where the score does not depend on length; ``label_accuracy_uneven``, how often the chosen one scores
    higher; and ``longer_chosen``, how often the longer one was chosen. ``prefers_longer`` and
    ``score_length`` have intervals.

    Args:
        gaps: [n] scores of chosen less rejected answers.
        longer: by how many tokens the chosen answer is the longer one.
    """
    confidence = gaps.double().abs().sigmoid().mean()
    more = torch.tensor(longer, dtype=torch.float64)
    uneven = more != 0
    gap, more = gaps.double().cpu()[uneven], more[uneven]
    n = len(gap)
    metrics = CONFIDENCE.of(float(confidence)) | PREFERS_LONGER.of(wilson(_share(gap * more), n))
    if n:
        length = float((gap * more).sum() / (gap.square().sum() * more.square().sum()).sqrt())
        metrics |= SCORE_LENGTH.of(fisher(length, n))
        metrics |= LABEL_ACCURACY_UNEVEN.of(_share(gap) / n) | LONGER_CHOSEN.of(_share(more) / n)
    return metrics


def _share(signs: Tensor) -> float:
    """How many are above 0, ties as half."""
    return float((signs > 0).sum() + (signs == 0).sum() / 2)
