"""The KL of a method, once more: what is charged to a row's rewards, and what is added to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from posttrain.core.kl import k2, k3
from tests.contract.by_hand import Row, token_mean


def charged(kl: Any, row: Row) -> list[float]:
    """The row's rewards less what it pays, by the class of the KL."""
    paid = [0.0] * len(row)
    kind = type(kl).__name__ if kl is not None and kl.coef else ""
    if kind == "KLInReward":
        logs = [float(a) - float(b) for a, b in zip(row.before, row.ref, strict=True)]
        paid = [_estimate(kl.estimator, x) for x in logs]
        paid = [p - (kl.power - 1) * float(ref) for p, ref in zip(paid, row.ref, strict=True)]
    elif kind == "KLExact":
        paid = [*(float(x) for x in row.old_kl[1:]), 0.0]
    return [float(r) - (kl.coef if kind else 0) * p for r, p in zip(row.reward, paid, strict=True)]


def in_the_loss(kl: Any, rows: list[Row], over: Callable[[Any], Any] = token_mean) -> Any:
    """coef times the mean, taken ``over`` steps as the method takes its own."""
    kind = type(kl).__name__ if kl is not None and kl.coef else ""
    if kind == "KLInLoss":
        return kl.coef * over(
            [[_estimate(kl.estimator, a - float(b)) for a, b in zip(r.now, r.ref, strict=True)] for r in rows]
        )
    if kind == "KLExact":
        return kl.coef * over([row.kl for row in rows])
    return 0.0


def _estimate(estimator: Any, difference: Any) -> Any:
    """Of log p - log q."""
    if estimator is k2:
        return difference**2 / 2
    if estimator is k3:
        grown = math.exp(-difference) if isinstance(difference, float) else (-difference).exp()
        return grown - 1 + difference
    return difference
