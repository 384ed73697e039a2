"""One prompt, a few answers of different lengths, a policy that is a table: populations are sums."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from posttrain.core.batch import DirectAlignment, Evaluation, PreferenceBatch, Rollouts
from posttrain.core.preferences import ranked
from tests.tiny import rollouts

LENGTHS = torch.tensor([1, 3, 2, 4])
REWARD = torch.tensor([1.0, -0.5, 0.3, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.2, -0.4, 0.7, -1.0], dtype=torch.float64).log_softmax(0)
PAIRS = [(i, j) for i in range(4) for j in range(4) if i != j]
LIKELY = torch.sigmoid(REWARD[:, None] - REWARD[None, :])  # that i is said to beat j


def facts(answers: Tensor, group: Tensor) -> Rollouts:
    """Rows of [n] answers; a prompt of one step stands before each."""
    mask = (torch.arange(6)[None, :] >= 1) & (torch.arange(6)[None, :] <= LENGTHS[answers][:, None])
    return rollouts(torch.zeros(len(answers), 7, dtype=torch.long), mask, group=group)


def spread(logprobs: Tensor, answers: Tensor, mask: Tensor) -> Tensor:
    """[B, T] steps, unequal ones, that add up to each answer's log-probability; NaN outside."""
    share = torch.arange(1, 7, dtype=torch.float64) * mask
    steps = logprobs[answers][:, None] * share / share.sum(1, keepdim=True)
    return torch.where(mask, steps, torch.nan)


def every_pair() -> tuple[PreferenceBatch, Tensor, Tensor]:
    """All ordered pairs as groups, the first the winner; with their [B] answers, and how likely each is to be
    said, on both rows."""
    answers = torch.tensor(PAIRS).flatten()
    group = torch.arange(len(PAIRS)).repeat_interleave(2)
    rows = facts(answers, group)
    past = ranked(rows, torch.tensor([0, 1] * len(PAIRS)), torch.ones(len(answers), dtype=torch.float64))
    past = replace(past, reference=Evaluation(logprobs=spread(REFERENCE, answers, rows.action_mask).detach()))
    return past, answers, torch.stack([LIKELY[i, j] for i, j in PAIRS]).repeat_interleave(2)


def expected(method: DirectAlignment, logits: Tensor, *, flipped: float = 0.0) -> Tensor:
    """[]: the loss of pairs drawn evenly and labelled as Bradley and Terry say, wrongly with rate
    ``flipped``."""
    past, answers, likely = every_pair()
    likely = likely * (1 - flipped) + (1 - likely) * flipped
    logprobs = spread(logits.log_softmax(0), answers, past.rollouts.action_mask)
    terms = method.loss(Evaluation(logprobs=logprobs), past)
    return sum((t.values * likely).sum() * t.coef for t in terms.values() if t.coef) / len(PAIRS) * 2  # type: ignore[return-value]


def gradient(method: DirectAlignment, logits: Tensor, *, flipped: float = 0.0) -> Tensor:
    """[4]: of :func:`expected`, in the logits."""
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(expected(method, logits, flipped=flipped), logits)[0]


def minimiser(method: DirectAlignment, *, flipped: float = 0.0) -> Tensor:
    """[4] log-probabilities found by descent from the reference."""
    logits = REFERENCE.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = expected(method, logits, flipped=flipped)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return logits.detach().log_softmax(0)


def tilted(worth: Tensor) -> Tensor:
    """[4]: ``log(ref exp(worth))``, normalised."""
    return (REFERENCE + worth).log_softmax(0)
