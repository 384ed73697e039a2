"""Identity preference optimization."""

from __future__ import annotations

from dataclasses import dataclass

from posttrain.core.batch import Evaluation, PreferenceBatch, Term
from posttrain.core.implicit_reward import PAIR_LOSS, either_way, log_ratio, pair_metrics
from posttrain.core.masked import lengths
from posttrain.core.preferences import on_winner, pair_confidence, pairs
from posttrain.core.ranges import above_zero
from posttrain.core.reduction import pair_mean
from posttrain.direct_alignment.base import PairLossWithReference


@dataclass(frozen=True, kw_only=True)
class IPO(PairLossWithReference):
    """Azar et al. 2023, eq. 17 (there tau is beta).

    ``L = E[(h_w - h_l - 1 / (2 beta))^2]``, ``h(y) = log pi(y|x) - log ref(y|x)``

    Converges to an optimum of its own, ``pi ~ ref exp(p(y > mu) / beta)`` with p(y > mu) the probability that
    y is preferred to an answer drawn as the pairs were: finite where one answer always wins, and not the
    Bradley-Terry reward's optimum. ``length_normalised`` takes h per step, as several libraries do; the
    target is then per step too and the optimum is another.
    """

    beta: float = 0.1
    """Price of KL from the reference; the target gap is 1 / (2 beta) nats, so larger stays closer."""
    length_normalised: bool = False
    """Log-ratios are taken per token, and the target gap is per token too."""

    def __post_init__(self) -> None:
        above_zero(self, "beta")

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """``pair_loss`` [B], each pair booked on its winner; the implicit rewards, as metrics."""
        between, rows, h = pairs(batch), len(batch.rollouts), log_ratio(now, batch)
        if self.length_normalised:
            h = h / lengths(batch.rollouts.action_mask).clamp(min=1)
        won, lost = h[between.winner], h[between.loser]
        sure = pair_confidence(batch, between).to(h)
        error = either_way(lambda d: (d - 1 / (2 * self.beta)).square(), won - lost, sure)
        return {
            PAIR_LOSS.name: Term(on_winner(error, between, rows), pair_mean),
            **pair_metrics(self.beta * won, self.beta * lost, between, rows),
        }
