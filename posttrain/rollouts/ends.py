"""How likely a model finds the end of answers where people ended them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import torch

from posttrain.core.batch import Policy
from posttrain.core.masked import masked_sum, wide
from posttrain.metrics import Metric, declare_metric
from posttrain.rollouts.in_parts import SAID, in_parts
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
    """``ends_heldout``, the mean probability of the stop token that ends a row's last answer, after all that
    stands before it, over the first ``LOOKED_AT`` rows that end with one, and how many these are; "unknown"
    without any.

    The token is looked for in the row and not in its mask: where a mask leaves the end out, a model that did
    not learn it shows here.
    """
    ended = list(itertools.islice(filter(None, (_end(row, stop_ids) for row in rows)), LOOKED_AT))
    total = 0.0
    for part in in_parts(ended, pad_id, micro_batch_tokens):
        said = policy.evaluate(part, SAID).logprobs
        total += float(wide(masked_sum(said, part.action_mask)).exp().sum())
    value = total / len(ended) if ended else "unknown"
    return {ENDS_HELDOUT.name: Metric(value, n=len(ended), unit=ENDS_HELDOUT.unit)}


def _end(row: TokenRow, stop_ids: Collection[int]) -> TokenRow | None:
    """The row up to the token that ends it, which alone is asked for: its last learned token, or the one
    behind that.
    """
    last = max(place for place, own in enumerate(row.mask) if own)
    for place in (last, last + 1):
        if place < len(row.ids) and row.ids[place] in stop_ids:
            return TokenRow(ids=row.ids[: place + 1], mask=[*[False] * place, True])
    return None
