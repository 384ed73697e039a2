"""What anybody says of two answers, and how likely: the one thing every simulated person shares."""

from __future__ import annotations

import math
from typing import Literal

Choice = Literal["a", "b", "tie"]


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - 1 / (1 + math.exp(x))
