"""KL controllers, which choose the KL coefficient of the next batch; the loop's state
holds the coefficient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FixedKL:
    """The coefficient stays what it is."""

    def next(self, coef: float, kl: float, rows: int) -> float:
        """The coefficient after a batch of ``rows`` completions with ``kl`` nats per completion."""
        return coef


@dataclass(frozen=True, kw_only=True)
class AdaptiveKL:
    """A proportional controller (Ziegler et al. 2019, section 2.2).

    ``coef *= 1 + clip((kl - target) / target, -0.2, 0.2) * min(rows / horizon, 1)``

    (The bound of 1 is not in the paper: without it a batch of five horizons would turn the price negative.)
    """

    target: float = 3.0
    """KL from the reference that the coefficient is steered to, in nats per completion."""
    horizon: int = 10_000
    """Completions in which an error of 20 % or more changes the coefficient by 20 %; larger is slower."""

    def __post_init__(self) -> None:
        if not 0 < self.target < math.inf or self.horizon < 1:
            raise ValueError(f"target is {self.target} and horizon {self.horizon}: both are greater than 0")

    def next(self, coef: float, kl: float, rows: int) -> float:
        """The coefficient after a batch of ``rows`` completions with ``kl`` nats per completion."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return coef * (1 + error * min(rows / self.horizon, 1.0))


KLController = FixedKL | AdaptiveKL
