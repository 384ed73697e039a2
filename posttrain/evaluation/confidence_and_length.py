"""The confidence of a reward model in its preferences, and how far its scores follow the
length of answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from posttrain.evaluation.intervals import fisher, wilson, with_interval


def confidence_and_length(gaps: Tensor, longer: Sequence[int]) -> dict[str, float | int | str]:
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
    figures: dict[str, float | int | str] = {"confidence_heldout": float(confidence)}
    figures |= with_interval("prefers_longer", wilson(_share(gap * more), n))
    if n:
        length = float((gap * more).sum() / (gap.square().sum() * more.square().sum()).sqrt())
        figures |= with_interval("score_length", fisher(length, n))
        figures |= {"label_accuracy_uneven": _share(gap) / n, "longer_chosen": _share(more) / n}
    return figures


def _share(signs: Tensor) -> float:
    """How many are above 0, ties as half."""
    return float((signs > 0).sum() + (signs == 0).sum() / 2)
