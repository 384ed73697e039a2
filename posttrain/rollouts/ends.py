"""How likely a model finds the end of answers where people ended them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import torch

from posttrain.core.batch import Policy
from posttrain.core.masked import masked_sum, wide
from posttrain.rollouts.batched_eval import LOGPROBS, micro_batches
from posttrain.storage.token_rows import TokenRow

LOOKED_AT = 200  # rows


@torch.no_grad()
def ends(
    policy: Policy, rows: Sequence[TokenRow], stop_ids: Collection[int], pad_id: int, micro_batch_tokens: int
) -> dict[str, float | int | str]:
    """``ends_heldout``, the mean probability of the stop token that ends a row's last answer, over the first
    ``LOOKED_AT`` rows that end with one ("unknown" without any), and ``ends_heldout_n``, the number of rows.

    A token that the row's mask excludes counts too: it shows that the model did not learn to stop.
    """
    ended = list(itertools.islice(filter(None, (_end(row, stop_ids) for row in rows)), LOOKED_AT))
    total = 0.0
    for part in micro_batches(ended, pad_id, micro_batch_tokens):
        logprobs = policy.evaluate(part, LOGPROBS).logprobs
        total += float(wide(masked_sum(logprobs, part.action_mask)).exp().sum())
    return {"ends_heldout": total / len(ended) if ended else "unknown", "ends_heldout_n": len(ended)}


def _end(row: TokenRow, stop_ids: Collection[int]) -> TokenRow | None:
    """The row up to its stop token, with a mask of that token alone: the last learned token or the next."""
    last = max(index for index, learned in enumerate(row.mask) if learned)
    for index in (last, last + 1):
        if index < len(row.ids) and row.ids[index] in stop_ids:
            return TokenRow(ids=row.ids[: index + 1], mask=[*[False] * index, True])
    return None
