"""The policy gradients in plain numbers, written from the papers and not from the package."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from posttrain.core.importance import Masked, Truncated
from posttrain.core.kl import KLExact, KLInLoss, KLInReward, k2, k3
from tests.contract.by_hand import (
    Entry,
    Row,
    clip,
    fixed,
    larger,
    mean,
    smaller,
    spread,
    token_mean,
)
from tests.contract.kl_by_hand import charged, in_the_loss

NO_KL = KLInReward(coef=0.0)


def correction(how: Any, row: Row) -> list[float]:
    """What each step counts, where sampler and trainer disagree."""
    ratios = [float((a - b).exp()) for a, b in zip(row.before, row.sampler, strict=True)]
    if isinstance(how, Truncated):
        return [min(r, how.cap) for r in ratios]
    if isinstance(how, Masked):
        return [r if how.low <= r <= how.high else 0.0 for r in ratios]
    return [1.0] * len(row)


def advantages(m: Any, row: Row) -> list[float]:
    """GAE as the sum it is: (gamma lambda)^k times the k-th one-step error from here."""
    reward, value = charged(m.kl, row), fixed(row.old_value)
    after = [*value[1:], float(row.bootstrap) if m.bootstrap_truncated and row.truncated else 0.0]
    errors = [r + m.gamma * v1 - v for r, v1, v in zip(reward, after, value, strict=True)]
    decay = m.gamma * m.gae_lambda
    steps = range(len(errors))
    return [sum(decay ** (u - t) * errors[u] for u in steps if u >= t) for t in steps]


def standardized(per_row: list[list[float]]) -> list[list[float]]:
    every = [a for row in per_row for a in row]
    middle, width = mean(every), spread(every)
    return [[(a - middle) / (width + 1e-8) for a in row] for row in per_row]


def ppo(m: Any, rows: list[Row]) -> Tensor:
    raw = [advantages(m, row) for row in rows]
    used = standardized(raw) if m.whiten else raw
    policy, value = [], []
    for row, own, white in zip(rows, raw, used, strict=True):
        weight = correction(m.correction, row)
        gains, errors = [], []
        for t in range(len(row)):
            ratio = (row.now[t] - float(row.before[t])).exp()
            kept = clip(ratio, 1 - m.clip_range, 1 + m.clip_range)
            gains.append(-weight[t] * smaller(ratio * white[t], kept * white[t]))
            old, target = float(row.old_value[t]), own[t] + float(row.old_value[t])
            error = (row.value[t] - target) ** 2
            if m.value_clip_range is not None:
                near = old + clip(row.value[t] - old, -m.value_clip_range, m.value_clip_range)
                error = larger(error, (near - target) ** 2)
            errors.append(weight[t] * error / 2)
        policy.append(gains)
        value.append(errors)
    loss = token_mean(policy) + m.vf_coef * token_mean(value) + in_the_loss(m.kl, rows)
    return loss - m.entropy_coef * token_mean([row.entropy for row in rows])


ENTRIES: dict[str, Entry] = {
    "ppo": Entry(
        ppo,
        settings=[
            {},
            {"whiten": False, "gae_lambda": 0.6, "gamma": 0.9, "kl": KLInReward(coef=0.3, estimator=k3)},
            {"kl": KLExact(coef=0.2), "value_clip_range": 0.2, "entropy_coef": 0.1},
            {"kl": KLInLoss(coef=0.2, estimator=k2), "correction": Truncated(cap=1.05), "vf_coef": 0.0},
            {"kl": KLInLoss(coef=0.2, estimator=k3), "correction": Masked(low=0.95, high=1.2)},
            {"bootstrap_truncated": True, "kl": NO_KL, "clip_range": 0.05},
        ],
    ),
}
