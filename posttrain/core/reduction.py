"""A reduction turns the whole optimizer batch into a weight tensor.

``training/update.py`` asks it once per optimizer batch and slices rows, so micro-batches add up to the same
gradient by construction. A reduction reads facts only, never what the current policy thinks.
"""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from posttrain.core.batch import Experience, PreferenceBatch, Reduction
from posttrain.core.masked import lengths, wide
from posttrain.core.preferences import outcomes, pairs


def token_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B, T]: every chosen step weighs the same, 1 / N."""
    mask = batch.rollouts.action_mask
    return wide(mask) / mask.sum().clamp(min=1)


def sequence_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B, T]: every row with a chosen step weighs the same, spread evenly over its steps."""
    mask = batch.rollouts.action_mask
    length = lengths(mask)
    return wide(mask) / (length.clamp(min=1)[:, None] * (length > 0).sum().clamp(min=1))


def row_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B]: every row with a chosen step weighs the same."""
    chosen = wide(batch.rollouts.action_mask.any(-1))
    return chosen / chosen.sum().clamp(min=1)


def row_total(batch: Experience | PreferenceBatch) -> Tensor:
    """[B, T]: the sum over a row's steps, averaged over rows: a per-step quantity per completion."""
    mask = batch.rollouts.action_mask
    return wide(mask) / mask.any(-1).sum().clamp(min=1)


def pair_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B]: every pair weighs the same, for values booked on the winner (``preferences.on_winner``)."""
    batch = _judged(batch)
    return (wide(batch.rank) * 0 + 1) / max(len(pairs(batch).winner), 1)


def ranked_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B]: every row that was judged weighs the same; rows that are only measured (rank -1) weigh nothing."""
    judged = wide(_judged(batch).rank >= 0)
    return judged / judged.sum().clamp(min=1)


def group_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B]: every group in which a row beat another weighs the same, for values that add up over its rows."""
    batch = _judged(batch)
    deciding = batch.rollouts.group[pairs(batch).winner].unique()
    return (wide(batch.rank) * 0 + 1) / max(len(deciding), 1)


def chosen_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B, T]: every step of a row that beat another (rank 0) weighs the same; those of other rows nothing."""
    batch = _judged(batch)
    chosen = wide(batch.rollouts.action_mask & (batch.rank == 0)[:, None])
    return chosen / chosen.sum().clamp(min=1)


def outcome_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B]: every row whose outcome is known (``preferences.outcomes``) weighs the same; others nothing."""
    labelled = wide(~outcomes(_judged(batch)).isnan())
    return labelled / labelled.sum().clamp(min=1)


def labelled_mean(batch: Experience | PreferenceBatch) -> Tensor:
    """[B, T]: every labelled step weighs the same; 0 without a label."""
    batch = _judged(batch)
    if batch.labels is None:
        raise ValueError("labelled_mean needs labels, and there are none")
    spoken = wide(batch.rollouts.action_mask & ~batch.labels.isnan())
    return spoken / spoken.sum().clamp(min=1)


def _judged(batch: Experience | PreferenceBatch) -> PreferenceBatch:
    if not isinstance(batch, PreferenceBatch):
        raise TypeError("this mean needs rows that were ranked (PreferenceBatch), not Experience")
    return batch


@lru_cache(maxsize=64)  # the same function for the same number, so that its weights are computed once a batch
def constant_length(max_length: int) -> Reduction:
    """[B, T]: a sum over steps divided by rows and by one constant (Dr. GRPO, Liu et al. 2025)."""
    if max_length < 1:
        raise ValueError(f"constant_length needs a positive length, not {max_length}")

    def reduction(batch: Experience | PreferenceBatch) -> Tensor:
        mask = batch.rollouts.action_mask
        return wide(mask) / (mask.any(-1).sum().clamp(min=1) * max_length)

    return reduction


def maximum(batch: Experience | PreferenceBatch) -> Tensor:
    """[B, T]: for metrics only: the largest value over chosen steps. A maximum adds up over micro-batches as
    a maximum, so it has no gradient here and its term must have coef 0."""
    return wide(batch.rollouts.action_mask)
