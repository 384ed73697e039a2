"""Sums and means over chosen steps. What stands outside the mask may be anything, NaN included.

Two views of the same [B, T] scalars: the token view has one number a step; the decision view
(:func:`per_decision`) gives every step the sum over the decision it belongs to.
"""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """The tensor in float64 (on Apple's MPS float32), for statistics that must not depend on row order."""
    return x.to(torch.float32 if x.device.type == "mps" else torch.float64)


def zero_outside(x: Tensor, mask: Tensor) -> Tensor:
    """``x`` with zeros where ``mask`` is false; neither values nor gradients pass there, NaN included."""
    return torch.where(mask, x, x.new_zeros(()))


def bounded_exp(x: Tensor, bound: float = 40.0) -> Tensor:
    """``exp(x)`` up to ``bound``, and its tangent above: value, gradient and squared gradient fit in float32.

    A probability ratio of e^40 only means that the policy is lost; the tangent still has the right sign.
    """
    return x.clamp(max=bound).exp() * (1 + (x - bound).relu())


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """[B, T] -> [B]: the sum over chosen steps of each row."""
    return zero_outside(x, mask).sum(-1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """[...] -> []: the mean over all chosen steps, in float64; 0 where nothing was chosen."""
    return wide(zero_outside(x, mask)).sum() / mask.sum().clamp(min=1)


def on_steps(x: Tensor, mask: Tensor) -> Tensor:
    """[B] -> [B, T]: every chosen step has its row's number; zero elsewhere."""
    return zero_outside(x[:, None].expand(mask.shape), mask)


def lengths(mask: Tensor) -> Tensor:
    """[B, T] bool -> [B] long: how many steps were chosen."""
    return mask.sum(-1)


def last_step(mask: Tensor) -> Tensor:
    """[B, T] bool -> [B] long: the index of the last chosen step; 0 for a row without one."""
    steps = torch.arange(mask.shape[-1], device=mask.device)
    return torch.where(mask, steps, steps.new_zeros(())).amax(-1)


def per_decision(x: Tensor, action_mask: Tensor, turn: Tensor) -> Tensor:
    """Give every chosen step the sum over the decision it belongs to; zero elsewhere.

    Args:
        x: [B, T] scalars.
        action_mask: [B, T] bool.
        turn: [B, T] long: steps of a row with the same number are one decision.

    Returns:
        [B, T]. The identity where each step is a decision (CartPole); the sequence where a completion is one.
    """
    inside = zero_outside(x, action_mask)
    dense = turn - turn.amin(-1, keepdim=True)
    width = int(dense.max()) + 1 if dense.numel() else 1
    sums = inside.new_zeros(*x.shape[:-1], width).scatter_add(-1, dense, inside)
    return zero_outside(sums.gather(-1, dense), action_mask)
