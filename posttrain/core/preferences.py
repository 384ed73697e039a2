"""Rows by rank: which row beat which, and the logistic loss of a pair.

A pair is booked on the row that won it. So a loss over pairs is a [B] tensor like any other, and
micro-batches that keep groups whole add up.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, Rollouts
from posttrain.core.masked import last_step, masked_sum


class Pairs(NamedTuple):
    """Index tensors [pairs] into the rows of a batch, ordered by winner, then loser."""

    winner: Tensor
    loser: Tensor


def pairs(batch: PreferenceBatch) -> Pairs:
    """Every two rows of one group of which one was ranked above the other. Ties and rank -1 make no pair."""
    ranked = batch.rank >= 0
    above = batch.rank[:, None] < batch.rank[None, :]
    together = batch.rollouts.group[:, None] == batch.rollouts.group[None, :]
    winner, loser = (above & together & ranked[:, None] & ranked[None, :]).nonzero(as_tuple=True)
    return Pairs(winner, loser)


def on_winner(values: Tensor, between: Pairs, rows: int) -> Tensor:
    """[pairs] -> [B]: each pair's value booked on the row that won it."""
    return values.new_zeros(rows).index_add(0, between.winner, values)


def pair_margin(batch: PreferenceBatch, between: Pairs) -> Tensor:
    """[pairs]: by how much the winner was said to be better, in units of score (Llama 2, eq. 2)."""
    return batch.margin[between.winner] - batch.margin[between.loser]


def pair_confidence(batch: PreferenceBatch, between: Pairs) -> Tensor:
    """[pairs]: a pair is as sure as the less sure of its rows."""
    return torch.minimum(batch.confidence[between.winner], batch.confidence[between.loser])


def outcomes(batch: PreferenceBatch) -> Tensor:
    """[B]: 1 right, 0 wrong, NaN without a label: the label at a row's last chosen step.

    Without labels rank 0 is right and every worse rank is wrong.
    """
    if batch.labels is None:
        right = (batch.rank == 0).to(batch.confidence)
    else:
        right = batch.labels.gather(1, last_step(batch.rollouts.action_mask)[:, None])[:, 0]
    return right.masked_fill(batch.rank < 0, float("nan"))


def logistic(difference: Tensor, confidence: Tensor) -> Tensor:
    """The negative log-likelihood of a pair under Bradley and Terry (1952).

    Args:
        difference: [pairs] score of the winner less the loser's (and less a margin, where there is one).
        confidence: [pairs] in (0, 1]: the probability that the label is right.

    Returns:
        [pairs]: ``-(c log sigmoid(d) + (1 - c) log sigmoid(-d))``, in nats.
    """
    return -(confidence * F.logsigmoid(difference) + (1 - confidence) * F.logsigmoid(-difference))


def floor(confidence: Tensor) -> Tensor:
    """[pairs]: the least that ``logistic`` can be, in nats: the entropy of the label, 0 for a certain one."""
    return -(
        torch.special.xlogy(confidence, confidence) + torch.special.xlogy(1 - confidence, 1 - confidence)
    )


def wanted(rollouts: Rollouts) -> PreferenceBatch:
    """Demonstrations: every row is wanted, with certainty."""
    rows, like = len(rollouts), rollouts.rewards
    return PreferenceBatch(
        rollouts=rollouts,
        rank=torch.zeros(rows, dtype=torch.long, device=like.device),
        confidence=torch.ones(rows, dtype=like.dtype, device=like.device),
        margin=torch.zeros(rows, dtype=like.dtype, device=like.device),
    )


def ranked(
    rollouts: Rollouts, rank: Tensor, confidence: Tensor | None = None, margin: Tensor | None = None
) -> PreferenceBatch:
    """Rows with their place in their group; sure and without margins unless said otherwise.

    Args:
        rank: [B] long, 0 best, -1 measured only.
        confidence: [B] in (0, 1].
        margin: [B]; a pair's margin is the difference of its rows'.
    """
    plain = wanted(rollouts)
    return PreferenceBatch(
        rollouts=rollouts,
        rank=rank.to(plain.rank),
        confidence=plain.confidence if confidence is None else confidence.to(plain.confidence),
        margin=plain.margin if margin is None else margin.to(plain.margin),
    )


def best_and_worst(rollouts: Rollouts, label_temperature: float = 1.0) -> PreferenceBatch:
    """Rank 0 for each group's best paid row, 1 for its worst, -1 for those between and for rows alone.

    The pair is as sure as Bradley and Terry's annotator would be, ``sigmoid((r_0 - r_1) /
    label_temperature)``: the expectation over labels drawn that way. At 0 the better paid row always wins,
    and equals make no pair.

    Raises ValueError where no group has two rows.
    """
    paid, group = masked_sum(rollouts.rewards, rollouts.action_mask), rollouts.group
    order = (-paid).argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    edge = group[order].diff() != 0
    end = edge.new_ones(1)
    best, worst = order[torch.cat([end, edge])], order[torch.cat([edge, end])]
    several = best != worst
    if not several.any():
        raise ValueError("answers are ranked within a prompt, and no prompt has two: raise group_size to 2")
    gap = paid[best] - paid[worst]
    decides = several & (gap > 0) if label_temperature == 0 else several
    sure = torch.sigmoid(gap / label_temperature) if label_temperature else torch.ones_like(gap)
    rank = torch.full_like(group, -1)
    rank[worst[decides]], rank[best[decides]] = 1, 0
    confidence = torch.ones_like(paid)
    confidence[worst[decides]] = confidence[best[decides]] = sure[decides]
    return ranked(rollouts, rank, confidence)
