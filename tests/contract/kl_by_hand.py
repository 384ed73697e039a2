"""The KL of a method, once more: what is charged to a row's rewards, and what is added to the loss."""

from __future__ import annotations

from typing import Any

from posttrain.core.kl import k2, k3
from tests.contract.by_hand import Row, mean


def charged(kl: Any, row: Row) -> list[float]:
    """The row's rewards less what it pays, by the class of the KL."""
    paid = [0.0] * len(row)
    kind = type(kl).__name__ if kl is not None and kl.coef else ""
    if kind == "KLInReward":
        logs = [float(a) - float(b) for a, b in zip(row.before, row.ref, strict=True)]
        paid = [_estimate(kl.estimator, x) for x in logs]
    elif kind == "KLExact":
        paid = [*(float(x) for x in row.old_kl[1:]), 0.0]
    return [float(r) - (kl.coef if kind else 0) * p for r, p in zip(row.reward, paid, strict=True)]


def in_the_loss(kl: Any, rows: list[Row]) -> Any:
    """coef times the mean over steps."""
    kind = type(kl).__name__ if kl is not None and kl.coef else ""
    if kind == "KLInLoss":
        return kl.coef * mean(
            _estimate(kl.estimator, a - float(b))
            for row in rows
            for a, b in zip(row.now, row.ref, strict=True)
        )
    if kind == "KLExact":
        return kl.coef * mean(x for row in rows for x in row.kl)
    return 0.0


def _estimate(estimator: Any, difference: Any) -> Any:
    """Of log p - log q."""
    import math

    if estimator is k2:
        return difference**2 / 2
    if estimator is k3:
        grown = math.exp(-difference) if isinstance(difference, float) else (-difference).exp()
        return grown - 1 + difference
    return difference
