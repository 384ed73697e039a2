"""Rows that were said something about, and scores for them."""

from __future__ import annotations

import torch
from torch import Tensor

from posttrain.core.batch import PreferenceBatch
from posttrain.core.preferences import ranked
from tests.tiny import rollouts


def said(rank: list[int], group: list[int], **more: Tensor) -> PreferenceBatch:
    """Rows of three steps, the first not chosen."""
    rows = len(rank)
    mask = torch.tensor([[False, True, True]]).repeat(rows, 1)
    facts = rollouts(torch.zeros(rows, 4, dtype=torch.long), mask, group=torch.tensor(group))
    return ranked(facts, torch.tensor(rank), **more)


def scores(totals: Tensor) -> Tensor:
    """[B] -> [B, 3]: paid in two steps; what stands outside the mask is junk."""
    halves = totals[:, None] / 2
    return torch.cat([torch.full_like(halves, torch.nan).detach(), halves, halves], 1)
