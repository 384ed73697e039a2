"""How much better a step was than expected."""

from __future__ import annotations

import torch
from torch import Tensor

from posttrain.core.masked import wide, zero_outside


def gae(  # size: the recursion has that many ingredients
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
    truncated: Tensor | None = None,
    bootstrap: Tensor | None = None,
) -> Tensor:
    """Generalized advantage estimation (Schulman et al. 2016, eq. 16) over the chosen steps of each row.

    ``A_t = d_t + gamma lambda A_t'`` with ``d_t = r_t + gamma V_t' - V_t`` and t' the row's next chosen step,
    so a prompt, a tool's output or padding in between neither discounts nor counts.

    Args:
        rewards, values: [B, T]; values[:, t] is of the state in which step t was chosen.
        mask: [B, T] bool.
        truncated, bootstrap: [B]; a row stopped by a limit goes on with ``bootstrap``, the value of the state
            after its last step. Any other row ends in a state worth 0, and so do all without a bootstrap.

    Returns:
        [B, T], zero outside the mask.
    """
    after = values.new_zeros(values.shape[0])
    if bootstrap is not None and truncated is not None:
        after = torch.where(truncated, bootstrap.to(values), after)
    advantage, out = torch.zeros_like(after), []
    columns = zip(rewards.to(values).unbind(1), values.unbind(1), mask.unbind(1), strict=True)
    for reward, value, chosen in reversed(list(columns)):
        step = reward + gamma * after - value + gamma * gae_lambda * advantage
        advantage = torch.where(chosen, step, advantage)
        after = torch.where(chosen, value, after)
        out.append(advantage)
    return zero_outside(torch.stack(out[::-1], 1), mask)


def whiten(x: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """[B, T] with mean 0 and standard deviation 1 over chosen steps; zero outside, and zero where all are
    equal.

    The statistics are taken in float64, so they follow neither the order of rows nor the padded width.
    """
    inside, count = wide(zero_outside(x, mask)), mask.sum().clamp(min=1)
    centred = zero_outside(inside - inside.sum() / count, mask)
    std = (centred.square().sum() / count).sqrt()
    return (centred / (std + eps)).to(x.dtype)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """[]: 1 - Var(returns - values) / Var(returns) over chosen steps: 1 is perfect, 0 no better than a
    constant.

    NaN where the returns do not vary.
    """
    chosen = wide(returns[mask])
    variance = chosen.var(correction=0)
    error = (chosen - wide(values[mask])).var(correction=0)
    return torch.where(variance > 0, 1 - error / variance, variance.new_tensor(float("nan")))
