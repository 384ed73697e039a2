"""Proximal policy optimization."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from posttrain.core.advantages import gae, whiten
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import Correction
from posttrain.core.kl import KL, KLInReward, k3
from posttrain.core.masked import bounded_exp, zero_outside
from posttrain.core.reduction import maximum, token_mean


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Schulman et al. 2017, as used for language by Ziegler et al. 2019 and InstructGPT (Ouyang et al. 2022).

    ``L = -E[min(r A, clip(r, 1 - c, 1 + c) A)] + vf_coef E[(V - R)^2] / 2 - entropy_coef E[H]``

    with r the probability ratio of now to before, A from generalized advantage estimation on rewards less the
    KL charge, whitened over the rollouts, and R = A + V before whitening; E is the mean over chosen steps of
    the optimizer batch.

    Converges to the KL-regularized optimum ``pi ~ reference * exp(reward / kl.coef)`` where clipping,
    whitening and the critic's error vanish. It is not trust-region optimization: the clip bounds no KL.
    """

    # size: the method's own hyper-parameters, each of them in the paper
    clip_range: float = 0.2
    gamma: float = (
        1.0  # a completion is one decision in T pieces; nothing in it is worth less for coming later
    )
    gae_lambda: float = 0.95
    vf_coef: float = 0.5
    value_clip_range: float | None = None
    whiten: bool = True
    kl: KL = field(default_factory=KLInReward)
    entropy_coef: float = 0.0
    bootstrap_truncated: bool = False  # a cut completion is scored as it stands; CartPole would have gone on
    correction: Correction | None = None  # where the sampler's numerics differ from the trainer's
    epochs: int = 2
    minibatches: int = 2

    def __post_init__(self) -> None:
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number from 0 to 1")
        for name in ("vf_coef", "entropy_coef"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("clip_range", "value_clip_range"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0")
        if self.epochs < 1 or self.minibatches < 1:
            raise ValueError(f"epochs={self.epochs}, minibatches={self.minibatches}: both are at least 1")

    @property
    def wants(self) -> Wants:
        """A critic and the reference; gradients of the entropy only where there is a bonus."""
        return Wants(
            values=True, reference=True, exact_kl=self.kl.exact, entropy_gradient=self.entropy_coef != 0
        )

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: all rows."""
        return torch.ones_like(rollouts.truncated)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Advantages and returns of a whole batch of rollouts, [B, T] each."""
        mask = rollouts.action_mask
        if before.values is None:
            raise ValueError("PPO needs a critic: evaluate() returned no values")
        rewards = self.kl.charge(rollouts.rewards, before, reference, mask)
        values = zero_outside(before.values, mask)
        advantages = gae(
            rewards,
            values,
            mask,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            truncated=rollouts.truncated,
            bootstrap=before.bootstrap if self.bootstrap_truncated else None,
        )
        weights = mask.to(values.dtype)
        if self.correction is not None:
            weights = self.correction.weights(before.logprobs, rollouts.logprobs, mask).to(values.dtype)
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=whiten(advantages, mask) if self.whiten else advantages,
            returns=advantages + values,
            weights=weights,
        )

    def loss(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        """The terms of the formula, then what a run reports of them."""
        mask = past.rollouts.action_mask
        after, before = zero_outside(now.logprobs, mask), zero_outside(past.before.logprobs, mask)
        ratio = bounded_exp(after - before)
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        gain = torch.minimum(ratio * past.advantages, clipped * past.advantages)
        terms = {"policy_loss": Term(-gain * past.weights, token_mean)}
        terms |= self._value_terms(now, past) | self.kl.terms(now, past)
        if now.entropy is not None:
            terms["entropy"] = Term(zero_outside(now.entropy, mask), token_mean, -self.entropy_coef)
        with torch.no_grad():
            outside = ((ratio - 1).abs() > self.clip_range).to(ratio.dtype)
            return terms | {
                "clip_fraction": Term(outside, token_mean, 0.0),
                "approx_kl": Term(k3(before, after), token_mean, 0.0),
                "ratio_max": Term(ratio.detach(), maximum, 0.0),
            }

    def _value_terms(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        if now.values is None or past.before.values is None or past.returns is None:
            raise ValueError("PPO needs a critic: evaluate() returned no values")
        mask = past.rollouts.action_mask
        values, old = zero_outside(now.values, mask), zero_outside(past.before.values, mask)
        error = (values - past.returns).square()
        if self.value_clip_range is not None:
            near = old + (values - old).clamp(-self.value_clip_range, self.value_clip_range)
            error = torch.maximum(error, (near - past.returns).square())
        return {"value_loss": Term(error / 2 * past.weights, token_mean, self.vf_coef)}
