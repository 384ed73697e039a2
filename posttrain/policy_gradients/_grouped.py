"""What every method that compares the answers to one prompt needs, and which rows it can use."""

from __future__ import annotations

from torch import Tensor

from posttrain.core.advantages import in_company
from posttrain.core.batch import Rollouts, Wants
from posttrain.core.importance import Correction
from posttrain.core.kl import KL


class Grouped:
    """A method without a critic: the other answers to a prompt are the baseline."""

    kl: KL
    correction: Correction | None
    epochs: int
    minibatches: int

    @property
    def wants(self) -> Wants:
        """Groups and the reference; the trainer's own log-probabilities where the sampler's will not do."""
        reused = self.epochs * self.minibatches > 1
        before = reused or self.correction is not None or self.kl.exact
        return Wants(reference=True, before=before, exact_kl=self.kl.exact, group=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: rows that have others to be compared with."""
        return in_company(rollouts.group)
