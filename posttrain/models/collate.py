"""Rows of tokens become Rollouts. What is padding is said by a mask, never by a token's value."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from posttrain.core.batch import Rollouts
from posttrain.storage.token_rows import TokenRow


def _check(rows: Sequence[TokenRow]) -> None:
    if not rows:
        raise ValueError("no rows to collate")
    for i, row in enumerate(rows):
        if len(row.ids) != len(row.mask):
            raise ValueError(f"row {i}: {len(row.ids)} tokens but a mask of {len(row.mask)}")
        actions = sum(map(bool, row.mask[1:]))
        if row.mask and row.mask[0]:
            raise ValueError(f"row {i}: the first token has nothing before it, so it cannot be an action")
        if not actions:
            raise ValueError(f"row {i}: no assistant token; drop such rows and count them")
        if row.logprobs is not None and len(row.logprobs) != actions:
            raise ValueError(f"row {i}: {len(row.logprobs)} log-probabilities for {actions} assistant tokens")
        if row.parts.keys() != rows[0].parts.keys():
            raise ValueError(f"row {i}: parts {sorted(row.parts)}, row 0 has {sorted(rows[0].parts)}")


def _groups(rows: Sequence[TokenRow]) -> torch.Tensor:
    """[B]; rows without a group get numbers that nobody else has."""
    free = max((row.group for row in rows), default=-1) + 1
    numbers = []
    for row in rows:
        numbers.append(row.group if row.group >= 0 else free)
        free += row.group < 0
    return torch.tensor(numbers)


def rollouts(
    rows: Sequence[TokenRow], pad_id: int, *, left: bool = False, width: int | None = None
) -> Rollouts:
    """B rows of at most L tokens as Rollouts of T = L - 1 steps (``width`` asks for a larger T).

    Step t is the choice of token t + 1. ``context`` has ``tokens`` [B, T+1] and ``attention_mask`` [B,
    T+1] bool, true on real tokens. Padding is on the right, or on the ``left``; results do not depend on it.
    Raises ValueError for a row without an assistant token (drop and count those first), or whose parts do not
    fit together.
    """
    _check(rows)
    T = max(max(len(row.ids) for row in rows) - 1, width or 0)
    B = len(rows)
    tokens = torch.full((B, T + 1), pad_id, dtype=torch.long)
    real = torch.zeros(B, T + 1, dtype=torch.bool)
    chosen = torch.zeros(B, T + 1, dtype=torch.bool)
    logprobs = torch.full((B, T), float("nan"))
    rewards = torch.zeros(B, T)
    for i, row in enumerate(rows):
        n = len(row.ids)
        columns = slice(T + 1 - n, T + 1) if left else slice(0, n)
        tokens[i, columns] = torch.as_tensor(row.ids, dtype=torch.long)
        real[i, columns] = True
        chosen[i, columns] = torch.as_tensor(row.mask, dtype=torch.bool)
        mask = chosen[i, 1:]
        if row.logprobs is not None:
            logprobs[i, mask] = torch.as_tensor(row.logprobs, dtype=torch.float32)
        rewards[i, mask.nonzero()[-1]] = row.reward
    before = torch.cat([torch.zeros(B, 1, dtype=torch.bool), chosen[:, 1:-1]], 1)
    # a decision begins where the assistant begins to speak; an answer of a tool carries the turn it answers
    turn = (chosen[:, 1:] & ~before).long().cumsum(1).sub(1).clamp(min=0)
    return Rollouts(
        context={"tokens": tokens, "attention_mask": real},
        actions=tokens[:, 1:].clone(),
        action_mask=chosen[:, 1:],
        turn=turn,
        logprobs=logprobs,
        rewards=rewards,
        truncated=torch.tensor([row.truncated for row in rows]),
        group=_groups(rows),
        temperature=torch.tensor([row.temperature for row in rows], dtype=torch.float32),
        version=torch.tensor([row.version for row in rows]),
        parts={name: torch.tensor([float(row.parts[name]) for row in rows]) for name in rows[0].parts},
    )
