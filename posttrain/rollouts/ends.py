"""How likely a model finds the end of answers where people ended them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import torch

from posttrain.core.batch import Policy
from posttrain.core.masked import masked_sum, wide
from posttrain.metrics import Metric, declare_metric
from posttrain.rollouts.batched_eval import LOGPROBS, micro_batches
from posttrain.storage.token_rows import TokenRow

ENDS_HELDOUT = declare_metric(
    "ends_heldout",
    "Probability that the model gives the stop token where a held-out answer ends, mean over answers.",
    unit="share",
    better="up",
    title="Probability of the end where held-out answers end",
)

LOOKED_AT = 200  # rows


@torch.no_grad()
def ends(
    policy: Policy, rows: Sequence[TokenRow], stop_ids: Collection[int], pad_id: int, micro_batch_tokens: int
) -> dict[str, Metric]:
    """``ends_heldout``, the mean probability of the stop token that ends a row's last answer, over the first
    ``LOOKED_AT`` rows that end with one ("unknown" without any), and the number of these rows.

    A token that the row's mask excludes counts too: it shows that the model did not learn to stop.
    """
    ended = list(itertools.islice(filter(None, (_end(row, stop_ids) for row in rows)), LOOKED_AT))
    total = 0.0
    for part in micro_batches(ended, pad_id, micro_batch_tokens):
        logprobs = policy.evaluate(part, LOGPROBS).logprobs
        total += float(wide(masked_sum(logprobs, part.action_mask)).exp().sum())
    value = total / len(ended) if ended else "unknown"
    return {ENDS_HELDOUT.name: Metric(value, n=len(ended), unit=ENDS_HELDOUT.unit)}


def _end(row: TokenRow, stop_ids: Collection[int]) -> TokenRow | None:
    """The row up to its stop token, with a mask of that token alone: the last learned token or the next."""
    last = max(index for index, learned in enumerate(row.mask) if learned)
    for index in (last, last + 1):
        if index < len(row.ids) and row.ids[index] in stop_ids:
            return TokenRow(ids=row.ids[: index + 1], mask=[*[False] * index, True])
    return None
