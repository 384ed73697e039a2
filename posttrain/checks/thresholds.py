"""From where on a figure of a finished stage is a finding. Each stage has its own as ``thresholds``, so each
is a setting, as in ``rl.thresholds.kl=15``. No product depends on them: another threshold judges it anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from posttrain.pipeline.finding import UserError


def _amount(default: float) -> Any:
    """A number that is no share, so it may be above 1."""
    return field(default=default, metadata={"most": math.inf})


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Shares from 0 to 1, and amounts of 0 and more. Raises UserError for anything else."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value, most = getattr(self, item.name), item.metadata.get("most", 1.0)
            if not (0 <= value <= most and math.isfinite(value)):
                expected = "a share from 0 to 1" if most == 1.0 else "a number of 0 or more"
                raise UserError(f"thresholds.{item.name} is {value}, expected {expected}")


@dataclass(frozen=True, kw_only=True)
class OfTuning(Thresholds):
    """``ends``: the least mean probability of the end where a held-out answer ends. ``gap``: nats per token
    by which held-out rows may be less likely than those learned from last.
    """

    ends: float = 0.05
    gap: float = _amount(1.0)


@dataclass(frozen=True, kw_only=True)
class OfRewardModel(Thresholds):
    """``accuracy``: agreement with held-out comparisons has to be above it, with its interval.
    ``overconfidence``: by how much the mean confidence may be above the interval of the accuracy. ``length``:
    the share of comparisons in which the longer answer, or the shorter, may score higher.
    """

    accuracy: float = 0.5
    overconfidence: float = 0.1
    length: float = 0.9


@dataclass(frozen=True, kw_only=True)
class OfReinforcement(Thresholds):
    """``kl``: nats per answer, or ``kl_per_token`` for each of its tokens where that is more. ``flat`` and
    ``truncated``: shares of steps (or groups) without variance, and of answers that a limit cut.
    ``length_correlation``: of reward and length. ``length_change``: the factor by which answers may grow or
    shrink. ``entropy_left``: the share of the entropy at the start. ``clipped``: the share of tokens.
    """

    kl: float = _amount(10.0)  # Gao et al. 2023 see gold turn well before
    kl_per_token: float = _amount(
        0.2
    )  # the same for an answer of 50 tokens, and as far a step for longer ones
    flat: float = 0.9
    truncated: float = 0.9
    length_correlation: float = 0.9
    length_change: float = _amount(3.0)
    entropy_left: float = 0.1
    clipped: float = 0.5


@dataclass(frozen=True, kw_only=True)
class OfEvaluation(Thresholds):
    """``accuracy_on_policy``: the reward model's agreement with gold on the final policy's own answers has to
    reach it, with its interval.
    """

    accuracy_on_policy: float = 0.5
