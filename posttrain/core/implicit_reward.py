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

PAIRS = Wants(before=False, entropy=False, whole_groups=True)  # both rows of a pair in one micro-batch
PAIRS_WITH_REFERENCE = Wants(before=False, entropy=False, whole_groups=True, reference=True)


def sequence_logprob(now: Evaluation, past: PreferenceBatch) -> Tensor:
    """[B]: ``log pi(y | x)``, the sum over a row's chosen steps."""
    return masked_sum(now.logprobs, past.rollouts.action_mask)


def mean_logprob(now: Evaluation, past: PreferenceBatch) -> Tensor:
    """[B]: the same per chosen step; 0 for a row without one."""
    return sequence_logprob(now, past) / lengths(past.rollouts.action_mask).clamp(min=1)


def step_log_ratio(now: Evaluation, past: PreferenceBatch) -> Tensor:
    """[B, T]: ``log pi - log ref`` of each step; outside the mask it carries no meaning.

    Raises ValueError where the batch comes without what the reference thinks of it.
    """
    if past.reference is None:
        raise ValueError("the method compares with a reference, and this batch has none: wants.reference")
    return now.logprobs - past.reference.logprobs


def log_ratio(now: Evaluation, past: PreferenceBatch) -> Tensor:
    """[B]: ``log pi(y | x) - log ref(y | x)``."""
    return masked_sum(step_log_ratio(now, past), past.rollouts.action_mask)


def either_way(loss: Callable[[Tensor], Tensor], difference: Tensor, confidence: Tensor) -> Tensor:
    """[pairs]: ``c loss(d) + (1 - c) loss(-d)``, the expected loss where c is the chance of a right label."""
    return confidence * loss(difference) + (1 - confidence) * loss(-difference)


def pair_figures(won: Tensor, lost: Tensor, between: Pairs, rows: int) -> dict[str, Term]:
    """What a run reports of [pairs] implicit rewards: how often, and by how much, the winner's is higher;
    and both, because a gap may also grow while both fall."""
    won, lost = won.detach(), lost.detach()
    gap = won - lost
    correct = torch.where(gap == 0, 0.5, (gap > 0).to(gap))
    shown = {"accuracy": correct, "gap": gap, "reward_chosen": won, "reward_rejected": lost}
    return {name: Term(on_winner(x, between, rows), pair_mean, 0.0) for name, x in shown.items()}


def flip_rate(settings: Any, name: str) -> None:
    """Raises ValueError unless the setting is a share of wrong labels that leaves something to learn."""
    value = getattr(settings, name)
    if not 0 <= value < 0.5:
        name = f"{type(settings).__name__}.{name}"
        raise ValueError(f"{name} is {value}, expected 0 or more and below 0.5, where labels say nothing")
