"""What a model thinks of a whole batch, without gradients, one slice of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from posttrain.core.batch import concatenate, take

Thought = TypeVar("Thought")


def in_slices(forward: Callable[[Any], Thought], record: Any, slices: Sequence[Tensor]) -> Thought:
    """``forward`` of each slice of rows, put back together in the order of the rows.

    Args:
        record: Rollouts, Experience or PreferenceBatch of B rows.
        slices: index tensors that hold each row once. With the slices of the next update equal weights give
            the same bits, so the ratio of that update is exactly 1.
    """
    with torch.no_grad():
        if len(slices) == 1 and len(slices[0]) and bool((slices[0].diff() > 0).all()):
            return forward(record)
        pieces = [forward(take(record, rows)) for rows in slices]
        order = torch.cat(list(slices)).argsort()
        if isinstance(pieces[0], Tensor):
            return torch.cat(pieces)[order]  # type: ignore[arg-type, return-value]
        return take(concatenate(pieces), order)
