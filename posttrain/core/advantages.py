"""How much better a step was than expected."""

from __future__ import annotations

import torch
from torch import Tensor

from posttrain.core.masked import wide, zero_outside


def gae(
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
    """[B, T] with mean 0 and standard deviation 1 over chosen steps; zero outside the mask.

    Where all chosen steps are equal the result is zero. The statistics are taken in float64, so they depend
    neither on the order of rows nor on the padded width.
    """
    inside, count = wide(zero_outside(x, mask)), mask.sum().clamp(min=1)
    centred = zero_outside(inside - inside.sum() / count, mask)
    std = (centred.square().sum() / count).sqrt()
    return (centred / (std + eps)).to(x.dtype)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """[]: ``1 - Var(returns - values) / Var(returns)`` over chosen steps.

    1 is perfect, 0 no better than a constant. NaN where the returns do not vary.
    """
    chosen = wide(returns[mask])
    variance = chosen.var(correction=0)
    error = (chosen - wide(values[mask])).var(correction=0)
    return torch.where(variance > 0, 1 - error / variance, variance.new_tensor(float("nan")))


def returns_to_go(rewards: Tensor, mask: Tensor, gamma: float = 1.0) -> Tensor:
    """[B, T]: ``sum_{u >= t} gamma^(u - t) r_u`` over the row's chosen steps; zero outside the mask."""
    return gae(rewards, torch.zeros_like(rewards), mask, gamma=gamma, gae_lambda=1.0)


def others_mean(x: Tensor, mask: Tensor) -> Tensor:
    """[B, T]: the mean of the other rows' ``x`` at the same chosen step, counted from a row's first.

    0 where no other row has as many chosen steps. No action of a row changes its own baseline, so the
    expected gradient stays the same. Neither prompts nor padding count as steps.
    """
    index = (mask.cumsum(-1) - 1).clamp(min=0)
    inside = wide(zero_outside(x, mask))
    sums = inside.new_zeros(mask.shape[-1]).index_add(0, index.flatten(), inside.flatten())
    count = torch.zeros_like(sums).index_add(0, index.flatten(), wide(mask).flatten())
    others = count[index] - 1
    mean = (sums[index] - inside) / others.clamp(min=1)
    return zero_outside(mean, mask & (others > 0)).to(x.dtype)


def _of_groups(x: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B] and [B] -> for each row the size, the sum of ``x`` and the index of its group.

    Raises ValueError for a row alone in its group.
    """
    index = group.unique(return_inverse=True)[1]
    sums = wide(x).new_zeros(int(index.max()) + 1 if len(index) else 0)
    size = torch.zeros_like(sums).index_add(0, index, torch.ones_like(wide(x)))[index]
    if bool((size < 2).any()):
        row = int((size < 2).nonzero()[0])
        raise ValueError(
            f"row {row} is alone in its group, and an answer is compared with the others to its prompt: ask "
            "for at least 2 answers a prompt (group_size), and drop rows that are left alone"
        )
    return size, sums.index_add(0, index, wide(x))[index], index


def group_centred(x: Tensor, group: Tensor, *, std: bool = False, eps: float = 1e-4) -> Tensor:
    """[B]: ``x`` less the mean of its group, and with ``std`` over its group's standard deviation plus eps.

    The deviation is that of a sample (n - 1). A group of equal rows gives zeros. Each group counts for
    itself, so a repeated group changes no other. Raises ValueError for a row alone in its group.
    """
    size, total, index = _of_groups(x, group)
    centred = wide(x) - total / size
    if std:
        squares = torch.zeros_like(centred).index_add(0, index, centred.square())[index]
        centred = centred / ((squares / (size - 1)).sqrt() + eps)
    return centred.to(x.dtype)


def leave_one_out(x: Tensor, group: Tensor) -> Tensor:
    """[B]: ``x`` less the mean of the others in its group, ``n / (n - 1)`` times :func:`group_centred`.

    Raises ValueError for a row alone in its group.
    """
    size, total, _ = _of_groups(x, group)
    return (wide(x) - (total - wide(x)) / (size - 1)).to(x.dtype)


def in_company(group: Tensor) -> Tensor:
    """[B] bool: rows that share their group; all rows where none does, so that the caller raises an error."""
    _, index, count = group.unique(return_inverse=True, return_counts=True)
    shared: Tensor = count[index] > 1
    return shared if bool(shared.any()) else torch.ones_like(shared)


def differing(x: Tensor, group: Tensor) -> Tensor:
    """[B] bool: rows of groups in which not all have the same ``x`` [B]."""
    index = group.unique(return_inverse=True)[1]
    highest = torch.full_like(x, float("-inf")).scatter_reduce(0, index, x, "amax")[index]
    lowest = torch.full_like(x, float("inf")).scatter_reduce(0, index, x, "amin")[index]
    return highest > lowest
