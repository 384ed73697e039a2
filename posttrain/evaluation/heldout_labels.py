"""Accuracy of a policy's likelihoods on held-out comparisons: whether the chosen answer is
the likelier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from posttrain.core.batch import Policy
from posttrain.core.masked import lengths, masked_sum, wide
from posttrain.evaluation.intervals import bootstrap, wilson
from posttrain.metrics import Metric, declare_metric
from posttrain.rollouts.batched_eval import LOGPROBS, micro_batches
from posttrain.storage.token_rows import TokenRow

LABEL_ACCURACY_OF = declare_metric(
    "label_accuracy/{model}",
    "Share of held-out comparisons in which {model} finds the chosen answer likelier per token; ties as "
    "half.",
    unit="share of comparisons",
    better="up",
    axis="Agreement with held-out labels",
    level="chance",
    title="agreement with held-out labels: {model}",
)
IMPLICIT_ACCURACY = declare_metric(
    "implicit_accuracy/{model}_vs_{other}",
    "Share of held-out comparisons in which the log-ratio of {model} to {other}, its implicit reward, is "
    "higher for the chosen answer; ties as half.",
    unit="share of comparisons",
    better="up",
    axis="Agreement with held-out labels",
    level="chance",
    title="agreement of the implicit reward with held-out labels: {model} vs {other}",
    label="implicit reward of {model} vs {other}",
)
LABEL_ACCURACY_CHANGE = declare_metric(
    "label_accuracy_change/{model}_vs_{other}",
    "Agreement of {model} with held-out labels less that of {other}, paired by comparison.",
    unit="comparisons, of one",
    better="up",
    axis="Change of the agreement with held-out labels",
    level="no change",
    title="change of the agreement with held-out labels: {model} vs {other}",
)


@torch.no_grad()
def log_likelihoods(policy: Policy, rows: Sequence[TokenRow], pad_id: int, micro_batch_tokens: int) -> Tensor:
    """[n, 2] float64: each row's log-probability of its answer, and that per token."""
    likelihoods = [torch.zeros(0, 2, dtype=torch.float64)]
    for part in micro_batches(rows, pad_id, micro_batch_tokens):
        mask = part.action_mask
        total = wide(masked_sum(policy.evaluate(part, LOGPROBS).logprobs, mask))
        likelihoods.append(torch.stack([total, total / wide(lengths(mask))], -1).double().cpu())
    return torch.cat(likelihoods)


def label_accuracy(likelihoods: Mapping[str, Tensor], first: str) -> dict[str, Metric]:
    """``label_accuracy/NAME``: how often the chosen answer is the likelier one per token, ties as half;
    ``label_accuracy_change/NAME_vs_FIRST`` its change from the ``first`` policy, paired; and
    ``implicit_accuracy/NAME_vs_FIRST``: how often the log-ratio to the first policy is higher for the chosen
    answer, which is the implicit reward (Rafailov et al. 2023) and 1/2 for the first policy itself.

    Args:
        likelihoods: each policy's ``log_likelihoods`` [2n, 2] of the same rows, chosen and rejected in turn.
    """
    metrics: dict[str, Metric] = {}
    right = {name: _right(of[:, 1]) for name, of in likelihoods.items()}
    for name, correct in right.items():
        metrics |= LABEL_ACCURACY_OF.of(wilson(float(correct.sum()), len(correct)), model=name)
    for name, of in likelihoods.items():
        if name != first:
            implicit = _right(of[:, 0] - likelihoods[first][:, 0])
            pair = {"model": name, "other": first}
            metrics |= IMPLICIT_ACCURACY.of(wilson(float(implicit.sum()), len(implicit)), **pair)
            change = (right[name] - right[first]).tolist()
            metrics |= LABEL_ACCURACY_CHANGE.of(bootstrap(change), **pair)
    return metrics


def _right(score: Tensor) -> Tensor:
    """[n]: 1 where the first of two scores is higher, 1/2 where they are the same."""
    gap = score[::2] - score[1::2]
    return torch.where(gap == 0, 0.5, (gap > 0).double())
