"""The metrics of a batch of rollouts and of the credit they were given."""

from __future__ import annotations

import torch
from torch import Tensor

from posttrain.core.advantages import explained_variance
from posttrain.core.batch import Evaluation, Experience, PreferenceBatch, Rollouts
from posttrain.core.importance import effective_sample_size
from posttrain.core.kl import k1, k3
from posttrain.core.masked import lengths, masked_mean, masked_sum, wide
from posttrain.metrics import declare_metric

REWARD = declare_metric(
    "reward",
    "Reward that the policy is trained on, per completion and before any KL charge, mean over rows.",
    unit="reward per completion",
    better="up",
    title="Reward (proxy)",
    order=1,
)
REWARD_STD = declare_metric(
    "reward_std",
    "Standard deviation of the reward over rows; at 0 there is nothing to learn from.",
    unit="reward",
    better="none",
    title="Spread of the reward",
    order=16,
)
REWARD_LENGTH = declare_metric(
    "reward_length",
    "Correlation of reward with length over the rows of a step; 0 where one of them does not vary.",
    unit="correlation",
    better="none",
    title="Correlation of reward with length",
)
LENGTH = declare_metric(
    "length",
    "Length of a completion, mean over rows.",
    unit="tokens",
    better="none",
    title="Length",
    order=6,
)
TRUNCATED = declare_metric(
    "truncated",
    "Share of completions that the length limit cut off.",
    unit="share of completions",
    better="down",
    title="Cut off by the limit",
    order=8,
)
ROWS_LEARNED = declare_metric("rows", "Rows of the batch.", unit="rows", better="none", where="log")
TOKENS = declare_metric(
    "tokens",
    "Tokens, or actions, of the batch that are learned from.",
    unit="tokens",
    better="none",
)
KL = declare_metric(
    "kl",
    "KL(policy || reference), the sum over a completion's tokens estimated by k1 on the policy's own "
    "samples.",
    unit="nats per completion",
    better="none",
    where="log",
    title="KL from the reference",
    order=4,
)
KL_K3 = declare_metric(
    "kl_k3",
    "The same KL by the estimator k3, which is never negative and has less variance near 0.",
    unit="nats per completion",
    better="none",
)
ENTROPY_BEFORE = declare_metric(
    "entropy_before",
    "Entropy of the policy's distribution over the next token, before the updates on a batch.",
    unit="nats per token",
    better="none",
    title="Entropy",
    order=5,
)
SAMPLER_DELTA_MAX = declare_metric(
    "sampler_delta_max",
    "Largest absolute difference of the sampler's and the trainer's log-probability of a token.",
    unit="nats",
    better="down",
    title="Sampler against trainer, largest difference",
    largest=True,
    order=14,
)
SAMPLER_DELTA_MEAN = declare_metric(
    "sampler_delta_mean",
    "Mean absolute difference of the sampler's and the trainer's log-probability of a token; of a run, the "
    "largest mean of a step.",
    unit="nats per token",
    better="down",
    title="Sampler against trainer, mean difference",
)
PART = declare_metric(
    "parts/{part}",
    "What {part} contributes to the reward or measures of an answer, before its weight, mean over rows.",
    unit="reward",
    better="none",
    title="part of the reward: {part}",
)
EFFECTIVE_SAMPLE_SIZE = declare_metric(
    "effective_sample_size",
    "Kish's effective sample size of the importance weights over the number of steps; 1 where all count "
    "alike.",
    unit="share of steps",
    better="up",
)
WEIGHT_MAX = declare_metric(
    "weight_max", "Largest importance weight of a step.", unit="ratio", better="none", largest=True
)
EXPLAINED_VARIANCE = declare_metric(
    "explained_variance",
    "How much of the variance of the returns the critic explains; 1 is perfect, 0 the mean, below 0 worse.",
    unit="part of the variance",
    better="up",
    title="Critic: explained variance",
    order=10,
)
RETURNS = declare_metric(
    "returns",
    "Returns that the critic learns, mean over steps.",
    unit="reward",
    better="none",
)
VALUES = declare_metric(
    "values",
    "Values that the critic predicted, mean over steps.",
    unit="reward",
    better="none",
)


def _floats(metrics: dict[str, Tensor]) -> dict[str, float]:
    """One transfer for all of them."""
    return dict(zip(metrics, torch.stack([wide(x) for x in metrics.values()]).tolist(), strict=True))


def of_rollouts(rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> dict[str, float]:
    """Over B rows, each as it is declared above. Those of a reference, of entropy and of a sampler whose
    log-probabilities were not taken for the trainer's are absent where there is none.
    """
    mask, reward = rollouts.action_mask, wide(masked_sum(rollouts.rewards, rollouts.action_mask))
    metrics = {
        REWARD.name: reward.mean(),
        REWARD_STD.name: reward.std(correction=0),
        REWARD_LENGTH.name: _correlation(reward, wide(lengths(mask))),
        LENGTH.name: wide(lengths(mask)).mean(),
        TRUNCATED.name: wide(rollouts.truncated).mean(),
        ROWS_LEARNED.name: wide(torch.tensor(len(rollouts), device=mask.device)),
        TOKENS.name: wide(mask).sum(),
    }
    if reference is not None:
        for kind, estimator in ((KL, k1), (KL_K3, k3)):
            metrics[kind.name] = wide(masked_sum(estimator(before.logprobs, reference.logprobs), mask)).mean()
    if before.entropy is not None:
        metrics[ENTROPY_BEFORE.name] = masked_mean(before.entropy, mask)
    if before.logprobs is not rollouts.logprobs:
        delta = wide((before.logprobs - rollouts.logprobs).abs())
        finite = mask & rollouts.logprobs.isfinite()
        metrics[SAMPLER_DELTA_MAX.name] = delta.masked_fill(~finite, 0).amax()
        metrics[SAMPLER_DELTA_MEAN.name] = masked_mean(delta, finite)
    for name, values in rollouts.parts.items():
        metrics[PART.named(part=name)] = wide(values).mean()
    return _floats(metrics)


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's, of two [B]."""
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt().clamp_min(1e-12)


def of_credit(batch: Experience | PreferenceBatch) -> dict[str, float]:
    """``effective_sample_size`` of the weights, a fraction, and the largest of them, ``weight_max``; and
    where there is a critic, its ``explained_variance`` and the means of ``returns`` and ``values``."""
    if not isinstance(batch, Experience):
        return {}
    mask = batch.rollouts.action_mask
    metrics = {
        EFFECTIVE_SAMPLE_SIZE.name: effective_sample_size(batch.weights, mask),
        WEIGHT_MAX.name: batch.weights.masked_fill(~mask, 0).amax(),
    }
    if batch.returns is not None and batch.before.values is not None:
        metrics |= {
            EXPLAINED_VARIANCE.name: explained_variance(batch.before.values, batch.returns, mask),
            RETURNS.name: masked_mean(batch.returns, mask),
            VALUES.name: masked_mean(batch.before.values, mask),
        }
    return _floats(metrics)
