"""Direct alignment with the likelihood of the chosen answers beside it."""

from __future__ import annotations

from dataclasses import dataclass

from posttrain.core.batch import DirectAlignment, Evaluation, PreferenceBatch, Term, Wants
from posttrain.core.reduction import chosen_mean


@dataclass(frozen=True)
class Imitating:
    """A method, and ``coef`` times the negative log-likelihood of the chosen answers beside it."""

    method: DirectAlignment
    coef: float

    @property
    def wants(self) -> Wants:
        return self.method.wants

    def measure(self, now: Evaluation, past: PreferenceBatch) -> PreferenceBatch:
        return self.method.measure(now, past)

    def loss(self, now: Evaluation, past: PreferenceBatch) -> dict[str, Term]:
        imitation = Term(-now.logprobs, chosen_mean, self.coef)
        return {**self.method.loss(now, past), "sft_nll": imitation}
