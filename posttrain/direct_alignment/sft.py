"""Maximum likelihood of demonstrations."""

from __future__ import annotations

from dataclasses import dataclass

from posttrain.core.batch import Evaluation, PreferenceBatch, Term, Wants
from posttrain.core.implicit_reward import NLL
from posttrain.core.masked import zero_outside
from posttrain.core.reduction import token_mean


@dataclass(frozen=True, kw_only=True)
class SFT:
    """Wei et al. 2022 (FLAN) and, as the first step of RLHF, Ouyang et al. 2022 (InstructGPT).

    ``L = -E[log pi(a_t | s_t)]``, the mean over the supervised tokens of the optimizer batch.

    Converges to the distribution of the demonstrations. The mean is over tokens, so long answers weigh more.
    """

    @property
    def wants(self) -> Wants:
        """Nothing but log-probabilities."""
        return Wants(before=False, entropy=False)

    def measure(self, now: Evaluation, batch: PreferenceBatch) -> PreferenceBatch:
        """Nothing depends on the current policy."""
        return batch

    def loss(self, now: Evaluation, batch: PreferenceBatch) -> dict[str, Term]:
        """One term, [B, T]: the negative log-likelihood in nats per token."""
        return {NLL.name: Term(-zero_outside(now.logprobs, batch.rollouts.action_mask), token_mean)}
