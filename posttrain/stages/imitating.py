"""Direct alignment with the likelihood of the chosen answers beside it."""

from __future__ import annotations

from dataclasses import dataclass

from posttrain.core.batch import DirectAlignment, Evaluation, PreferenceBatch, Term, Wants
from posttrain.core.reduction import chosen_mean
from posttrain.metrics import declare_metric

SFT_NLL = declare_metric(
    "sft_nll",
    "Negative log-likelihood of the chosen answers that the loss adds, before its coefficient, mean over "
    "tokens.",
    unit="nats per token",
    better="down",
)


@dataclass(frozen=True)
class Imitating:
    """A method, and ``coef`` times the negative log-likelihood of the chosen answers beside it."""

    method: DirectAlignment
    coef: float

    @property
    def wants(self) -> Wants:
        return self.method.wants

    def measure(self, now: Evaluation, batch: PreferenceBatch) -> PreferenceBatch:
        return self.method.measure(now, batch)

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        imitation = Term(-now.logprobs, chosen_mean, self.coef)
        return {**self.method.loss(now, batch), SFT_NLL.name: imitation}
