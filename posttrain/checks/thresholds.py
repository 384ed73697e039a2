"""The values of a stage's metrics at which its gates fail. Each stage has its own as ``thresholds``, so each
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
class OfBase(Thresholds):
    """Of the embedded base, ``base.thresholds``."""

    facts: float = 0.9
    """Least share of held-out facts that the base completes."""
    continues: float = 0.8
    """Least share of bare questions after which the base writes on."""


@dataclass(frozen=True, kw_only=True)
class OfTuning(Thresholds):
    """Of instruction tuning, ``sft.thresholds``."""

    ends: float = 0.05
    """Least mean probability of the end token where a held-out answer ends."""
    gap: float = _amount(1.0)
    """Nats per token by which held-out rows may be less likely than the rows learned from last."""


@dataclass(frozen=True, kw_only=True)
class OfRewardModel(Thresholds):
    """Of a reward model, ``rm.thresholds``."""

    accuracy: float = 0.5
    """Agreement with held-out comparisons must be above this share, its 95 % interval included."""
    overconfidence: float = 0.1
    """How far the mean confidence may lie above the interval of the accuracy."""
    length_correlation: float = 0.7
    """Largest correlation, either way, of scores with length; 0.7 is half of the variance."""
    beyond_length: float = 0.1
    """How much more often than length alone a reward model that goes by length must agree with people."""


@dataclass(frozen=True, kw_only=True)
class OfAlignment(Thresholds):
    """Of direct alignment, ``alignment.thresholds``."""

    accuracy: float = 0.5
    """Agreement with held-out comparisons must be above this share, its 95 % interval included."""


@dataclass(frozen=True, kw_only=True)
class OfReinforcement(Thresholds):
    """Of reinforcement, ``rl.thresholds``."""

    kl: float = _amount(10.0)
    """Largest KL from the reference, in nats per answer (Gao et al. 2023 see gold fall well before 10)."""
    kl_per_token: float = _amount(0.2)
    """Largest KL in nats per token; of this times the answer's length and ``kl`` the larger is the limit."""
    flat: float = 0.9
    """Largest share of groups (or batches) whose rewards are all equal, so that nothing can be learned."""
    truncated: float = 0.9
    """Largest share of answers that the length limit cut."""
    length_correlation: float = 0.9
    """Largest correlation of reward and answer length, of either sign."""
    length_change: float = _amount(3.0)
    """Largest factor by which the mean answer may grow or shrink."""
    entropy_left: float = 0.1
    """Least entropy at the end, as a share of that at the start."""
    clipped: float = 0.5
    """Largest share of tokens whose probability ratio was clipped in the last batches."""
    sampler: float = _amount(1e-2)
    """Nats by which sampler and trainer may differ in any token; float32 differs by about 1e-6."""
    sampler_rounded: float = _amount(0.1)
    """The same in the mean token where both round to 8 bits; they differ by about 0.02."""


@dataclass(frozen=True, kw_only=True)
class OfEvaluation(Thresholds):
    """Of the evaluation, ``evaluate.thresholds``."""

    accuracy_on_policy: float = 0.5
    """The reward model must agree with gold on this share of pairs of the final policy's answers."""
