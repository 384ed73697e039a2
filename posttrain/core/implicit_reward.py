"""What a policy says of whole answers: their log-probability, and how far it moved from its reference's.

``beta`` times the log-ratio is the reward that the policy behaves as if it maximised (Rafailov et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, PreferenceBatch, Term, Wants
from posttrain.core.masked import lengths, masked_sum
from posttrain.core.preferences import Pairs, on_winner
from posttrain.core.reduction import pair_mean
from posttrain.metrics import declare_metric

PAIR_LOSS = declare_metric(
    "pair_loss",
    "The method's loss, mean over pairs; for the logistic losses ln 2 is a guess.",
    unit="nats per pair",
    better="down",
    title="Pairwise loss",
    order=2,
)
ACCURACY = declare_metric(
    "accuracy",
    "Share of the batch's pairs, or rated rows, in which what people preferred scores higher; ties as half.",
    unit="share of pairs",
    better="up",
    where="log",
    title="Accuracy",
    order=4,
)
GAP = declare_metric(
    "gap",
    "Score of the preferred answer less that of the other, mean over the batch's pairs.",
    unit="reward",
    better="up",
    title="Gap of a pair",
)
REWARD_CHOSEN = declare_metric(
    "reward_chosen",
    "Implicit reward of preferred answers: beta times the log-ratio of policy to reference, or what the "
    "method has instead.",
    unit="reward",
    better="up",
)
REWARD_REJECTED = declare_metric(
    "reward_rejected",
    "Implicit reward of rejected answers; where it falls with that of the preferred ones, both become "
    "unlikely.",
    unit="reward",
    better="down",
)
NLL = declare_metric(
    "nll",
    "Negative log-likelihood of the supervised tokens, mean over tokens.",
    unit="nats per token",
    better="down",
    title="Negative log-likelihood",
    order=3,
)

PAIRS = Wants(before=False, entropy=False, whole_groups=True)  # both rows of a pair in one micro-batch
PAIRS_WITH_REFERENCE = Wants(before=False, entropy=False, whole_groups=True, reference=True)


def sequence_logprob(now: Evaluation, batch: PreferenceBatch) -> Tensor:
    """[B]: ``log pi(y | x)``, the sum over a row's chosen steps."""
    return masked_sum(now.logprobs, batch.rollouts.action_mask)


def mean_logprob(now: Evaluation, batch: PreferenceBatch) -> Tensor:
    """[B]: the same per chosen step; 0 for a row without one."""
    return sequence_logprob(now, batch) / lengths(batch.rollouts.action_mask).clamp(min=1)


def step_log_ratio(now: Evaluation, batch: PreferenceBatch) -> Tensor:
    """[B, T]: ``log pi - log ref`` of each step; outside the mask it carries no meaning.

    Raises ValueError where the batch comes without what the reference thinks of it.
    """
    if batch.reference is None:
        raise ValueError("the method compares with a reference, and this batch has none: wants.reference")
    return now.logprobs - batch.reference.logprobs


def log_ratio(now: Evaluation, batch: PreferenceBatch) -> Tensor:
    """[B]: ``log pi(y | x) - log ref(y | x)``."""
    return masked_sum(step_log_ratio(now, batch), batch.rollouts.action_mask)


def either_way(loss: Callable[[Tensor], Tensor], difference: Tensor, confidence: Tensor) -> Tensor:
    """[pairs]: ``c loss(d) + (1 - c) loss(-d)``, the expected loss where c is the chance of a right label."""
    return confidence * loss(difference) + (1 - confidence) * loss(-difference)


def pair_metrics(won: Tensor, lost: Tensor, between: Pairs, rows: int) -> dict[str, Term]:
    """What a run reports of [pairs] implicit rewards: how often, and by how much, the winner's is higher;
    and both, because a gap may also grow while both fall."""
    won, lost = won.detach(), lost.detach()
    gap = won - lost
    correct = torch.where(gap == 0, 0.5, (gap > 0).to(gap))
    shown = {ACCURACY: correct, GAP: gap, REWARD_CHOSEN: won, REWARD_REJECTED: lost}
    return {kind.name: Term(on_winner(x, between, rows), pair_mean, 0.0) for kind, x in shown.items()}


def flip_rate(settings: Any, name: str) -> None:
    """Raises ValueError unless the setting is a share of wrong labels that leaves something to learn."""
    value = getattr(settings, name)
    if not 0 <= value < 0.5:
        name = f"{type(settings).__name__}.{name}"
        raise ValueError(f"{name} is {value}, expected 0 or more and below 0.5, where labels say nothing")
