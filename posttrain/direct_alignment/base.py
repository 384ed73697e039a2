"""What the losses of pairs share: what they need computed, and that nothing is measured beforehand."""

from __future__ import annotations

from posttrain.core.batch import Evaluation, PreferenceBatch, Wants
from posttrain.core.implicit_reward import PAIRS, PAIRS_WITH_REFERENCE


class PairLoss:
    """A loss of two answers to one prompt that needs no reference."""

    @property
    def wants(self) -> Wants:
        """Both rows of a pair in one micro-batch; no reference."""
        return PAIRS

    def measure(self, now: Evaluation, batch: PreferenceBatch) -> PreferenceBatch:
        """Nothing depends on the current policy."""
        return batch


class PairLossWithReference(PairLoss):
    """A loss of two answers to one prompt, each compared with what the reference says of it."""

    @property
    def wants(self) -> Wants:
        """The reference, and both rows of a pair in one micro-batch."""
        return PAIRS_WITH_REFERENCE
