"""The same tensors for the package and for another library: completions padded on the right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, PreferenceBatch, Rollouts
from posttrain.core.preferences import ranked
from tests.tiny import rollouts

LENGTHS = (5, 2, 4, 1, 3, 5, 2, 4)
ROWS, STEPS = len(LENGTHS), 5
MASK = torch.arange(STEPS)[None, :] < torch.tensor(LENGTHS)[:, None]
GROUP = torch.arange(ROWS) // 4  # two prompts, four answers each
HALF = ROWS // 2


def draw(seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, STEPS, generator=g, dtype=torch.float64) * scale + shift


BEFORE = -draw(0, 0.5, 1.5).abs()
REFERENCE = BEFORE + draw(1, 0.3)
SAMPLER = BEFORE + draw(2, 0.1)
REWARD = draw(3)[:, 0]  # of each row, paid at its end


def leaf(far: float = 0.25) -> Tensor:
    """[rows, steps] log-probabilities of the policy now, to be differentiated."""
    return (BEFORE + draw(4, far)).requires_grad_()


def facts(group: Tensor = GROUP) -> Rollouts:
    rewards = torch.zeros(ROWS, STEPS, dtype=torch.float64)
    rewards[torch.arange(ROWS), torch.tensor(LENGTHS) - 1] = REWARD
    made = rollouts(
        torch.zeros(ROWS, STEPS + 1, dtype=torch.long), MASK, rewards=rewards, group=group, logprobs=SAMPLER
    )
    return replace(made, temperature=torch.ones(ROWS, dtype=torch.float64))


def experience(method: Any) -> Any:
    return method.credit(facts(), Evaluation(logprobs=BEFORE), Evaluation(logprobs=REFERENCE))


def pairs() -> PreferenceBatch:
    """Row i beat row i + 4, as libraries stack the chosen on the rejected."""
    said = ranked(facts(torch.arange(ROWS) % HALF), torch.arange(ROWS) // HALF)
    return replace(said, reference=Evaluation(logprobs=REFERENCE))


def loss_of(method: Any, past: Any, now: Any) -> Tensor:
    """[]: the sum that ``training/update.py`` takes."""
    terms = method.loss(now, past).values()
    return sum(((t.values * t.reduction(past)).sum() * t.coef for t in terms if t.coef), torch.zeros(()))


def ours(method: Any, past: Any, far: float = 0.25) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient in the log-probabilities of each step."""
    logprobs = leaf(far)
    loss = loss_of(method, past, Evaluation(logprobs=logprobs))
    (grad,) = torch.autograd.grad(loss, logprobs)
    return loss.detach(), grad


def agree(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> None:
    """To 1e-5, loss and gradient; the gradient is not nothing."""
    assert a[1].abs().max() > 1e-3
    for mine, theirs in zip(a, b, strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), rtol=1e-5, atol=1e-7)
