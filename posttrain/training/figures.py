"""What a run reports of its rollouts and of the credit they were given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from posttrain.core.advantages import explained_variance
from posttrain.core.batch import Evaluation, Experience, PreferenceBatch, Rollouts
from posttrain.core.importance import effective_sample_size
from posttrain.core.kl import k1, k3
from posttrain.core.masked import lengths, masked_mean, masked_sum, wide


def _floats(figures: dict[str, Tensor]) -> dict[str, float]:
    """One transfer for all of them."""
    return dict(zip(figures, torch.stack([wide(x) for x in figures.values()]).tolist(), strict=True))


def of_rollouts(rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> dict[str, float]:
    """Figures over B rows.

    ``reward`` and ``reward_std`` are of rows, before any charge, ``reward_length`` is the correlation of
    ``reward`` with ``length``, 0 where one does not vary; ``kl`` (k1) and ``kl_k3`` are nats per
    completion; ``entropy_before`` nats per step; ``length`` steps per row; ``truncated`` a fraction;
    ``sampler_delta_max`` and ``sampler_delta_mean`` the absolute difference of the sampler's and the
    trainer's log-probabilities, in nats per step, over steps where the sampler's are known (absent where the
    sampler's were taken for the trainer's); ``parts/NAME`` means over rows.
    """
    mask, reward = rollouts.action_mask, wide(masked_sum(rollouts.rewards, rollouts.action_mask))
    figures = {
        "reward": reward.mean(),
        "reward_std": reward.std(correction=0),
        "reward_length": _correlation(reward, wide(lengths(mask))),
        "length": wide(lengths(mask)).mean(),
        "truncated": wide(rollouts.truncated).mean(),
        "rows": wide(torch.tensor(len(rollouts), device=mask.device)),
        "tokens": wide(mask).sum(),
    }
    if reference is not None:
        for name, estimator in (("kl", k1), ("kl_k3", k3)):
            figures[name] = wide(masked_sum(estimator(before.logprobs, reference.logprobs), mask)).mean()
    if before.entropy is not None:
        figures["entropy_before"] = masked_mean(before.entropy, mask)
    if before.logprobs is not rollouts.logprobs:
        delta = wide((before.logprobs - rollouts.logprobs).abs())
        sampled = mask & rollouts.logprobs.isfinite()
        figures["sampler_delta_max"] = delta.masked_fill(~sampled, 0).amax()
        figures["sampler_delta_mean"] = masked_mean(delta, sampled)
    for name, values in rollouts.parts.items():
        figures[f"parts/{name}"] = wide(values).mean()
    return _floats(figures)


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's, of two [B]."""
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt().clamp_min(1e-12)


def of_credit(past: Experience | PreferenceBatch) -> dict[str, float]:
    """``effective_sample_size`` of the weights, a fraction, and the largest of them, ``weight_max``; and
    where there is a critic, its ``explained_variance`` and the means of ``returns`` and ``values``."""
    if not isinstance(past, Experience):
        return {}
    mask = past.rollouts.action_mask
    figures = {
        "effective_sample_size": effective_sample_size(past.weights, mask),
        "weight_max": past.weights.masked_fill(~mask, 0).amax(),
    }
    if past.returns is not None and past.before.values is not None:
        figures |= {
            "explained_variance": explained_variance(past.before.values, past.returns, mask),
            "returns": masked_mean(past.returns, mask),
            "values": masked_mean(past.before.values, mask),
        }
    return _floats(figures)


def of_run(history: list[dict[str, Any]]) -> dict[str, float | int | str]:
    """A run's figures of the first batch of rollouts, and the mean of those of the last tenth."""
    rows = by_step(history)
    last = rows[-max(1, len(rows) // 10) :]
    summary: dict[str, float | int | str] = {}
    for name in (
        "reward",
        "kl",
        "length",
        "truncated",
        "entropy_before",
        "explained_variance",
        "clip_fraction",
        "pretraining_nll",
    ):
        values = [row[name] for row in last if name in row]
        if values:
            summary[f"{name}_final"] = sum(values) / len(values)
            summary[f"{name}_start"] = rows[0][name]
    if "ratio_max" in rows[0]:
        summary["ratio_start"] = rows[0]["ratio_max"]
    summary["sampler_delta_max"] = max(row.get("sampler_delta_max", 0.0) for row in rows)
    if means := [row["sampler_delta_mean"] for row in rows if "sampler_delta_mean" in row]:
        summary["sampler_delta_mean"] = max(means)
    if spread := [row["reward_std"] for row in rows if "reward_std" in row]:
        summary["flat_steps"] = sum(value == 0.0 for value in spread) / len(spread)
    if paid := [row["reward_length"] for row in rows if row.get("reward_std") and "reward_length" in row]:
        summary["reward_length"] = sum(paid) / len(paid)
    if flat := [row["answers/flat_groups"] for row in rows if "answers/flat_groups" in row]:
        summary["flat_groups"] = sum(flat) / len(flat)
    summary["steps"] = len(rows)
    summary["answers"] = int(sum(row["rows"] for row in rows))
    summary["updates"] = len(history)
    return summary


def by_step(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first update of each step."""
    by_step = {row["step"]: row for row in reversed(history)}
    return [by_step[step] for step in sorted(by_step)]


def finite(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number is absent (None) from a curve."""
    return None if isinstance(value, float) and value - value != 0 else value
