"""How sure a reward model is of what it prefers, and how often that is the longer answer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from posttrain.evaluation.intervals import wilson, with_interval


def sure_and_long(gaps: Tensor, longer: Sequence[int]) -> dict[str, float | int | str]:
    """``confidence_heldout``, the mean of ``sigmoid(|gap|)``, which is the accuracy of a calibrated
    Bradley-Terry model (Guo et al. 2017, without their bins); and ``prefers_longer`` with its interval, of
    the comparisons of answers of unequal length, ties as half.

    Args:
        gaps: [n] scores of chosen less rejected answers.
        longer: by how many tokens the chosen answer is the longer one.
    """
    sure = gaps.double().abs().sigmoid().mean()
    uneven = [(gap, more) for gap, more in zip(gaps.tolist(), longer, strict=True) if more]
    agreed = sum(0.5 if gap == 0 else float((gap > 0) == (more > 0)) for gap, more in uneven)
    return {"confidence_heldout": float(sure), **with_interval("prefers_longer", wilson(agreed, len(uneven)))}
