"""PPO and its three KLs against gradients and optima that can be written down."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Evaluation, Wants
from posttrain.core.kl import KLExact, KLInLoss, KLInReward, k3
from posttrain.policy_gradients.ppo import PPO
from tests.oracle.world import (
    everything,
    exact_values,
    expected_loss,
    gradient_of,
    kl_now,
    log_probability,
)
from tests.tiny import TinyPolicy

COEF = 0.3
FACTS = everything()
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def pair() -> tuple[TinyPolicy, TinyPolicy]:
    return TinyPolicy(3, seed=1), TinyPolicy(3, seed=2)


def plain(**changes: object) -> PPO:
    base = PPO(whiten=False, vf_coef=0.0, gae_lambda=1.0, kl=KLInReward(coef=0.0))
    return replace(base, **changes)  # type: ignore[arg-type]


def reward_gradient(policy: TinyPolicy) -> torch.Tensor:
    return gradient_of((log_probability(policy, FACTS).exp() * FACTS.rewards.sum(1)).sum(), policy)


def test_the_texts_are_all_there_is() -> None:
    policy, _ = pair()
    assert log_probability(policy, FACTS).exp().sum().item() == pytest.approx(1, rel=1e-12)


def test_without_kl_it_is_the_gradient_of_the_expected_reward() -> None:
    policy, _ = pair()
    got = gradient_of(expected_loss(plain(), policy, None, FACTS), policy)
    torch.testing.assert_close(got, -reward_gradient(policy), **CLOSE)


@pytest.mark.parametrize("kl", [KLInReward(coef=COEF), KLExact(coef=COEF)])
def test_in_the_reward_and_exact_have_the_gradient_of_the_kl_of_texts(kl: KLInReward | KLExact) -> None:
    policy, reference = pair()
    got = gradient_of(expected_loss(plain(kl=kl), policy, reference, FACTS), policy)
    want = COEF * gradient_of(kl_now(policy, reference, FACTS), policy) - reward_gradient(policy)
    torch.testing.assert_close(got, want, **CLOSE)


def steps_kl_gradient(policy: TinyPolicy, reference: TinyPolicy, backwards: bool) -> torch.Tensor:
    """What KL in the loss can see: the KL of each step where it stands, however one came there."""
    often = (
        torch.where(FACTS.action_mask, policy.evaluate(FACTS, Wants()).logprobs, 0).sum(1, keepdim=True).exp()
    )
    tokens, mask = FACTS.context["tokens"], FACTS.action_mask
    log_p = (policy.states(tokens, policy.embed, policy.mix)[:, :-1] @ policy.head.T).log_softmax(-1)
    log_q = (reference.states(tokens, reference.embed, reference.mix)[:, :-1] @ reference.head.T).log_softmax(
        -1
    )
    a, b = (log_q.detach(), log_p) if backwards else (log_p, log_q.detach())
    return gradient_of((often.detach() * mask * (a.exp() * (a - b)).sum(-1)).sum(), policy)


@pytest.mark.parametrize("backwards", [False, True])
def test_in_the_loss_only_the_steps_own_kl_counts(backwards: bool) -> None:
    policy, reference = pair()
    kl = KLInLoss(coef=COEF, estimator=k3) if backwards else KLInLoss(coef=COEF)
    got = gradient_of(expected_loss(plain(kl=kl), policy, reference, FACTS), policy)
    want = COEF * steps_kl_gradient(policy, reference, backwards) - reward_gradient(policy)
    torch.testing.assert_close(got, want, **CLOSE)


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_with_exact_values_gae_is_unbiased_whatever_lambda(lam: float) -> None:
    policy, _ = pair()
    with torch.no_grad():
        before = policy.evaluate(FACTS, Wants(values=True))
    before = replace(before, values=exact_values(policy, FACTS, FACTS.rewards))
    got = gradient_of(expected_loss(plain(gae_lambda=lam), policy, None, FACTS, before), policy)
    torch.testing.assert_close(got, -reward_gradient(policy), **CLOSE)


def test_values_shifted_by_one_are_not() -> None:
    policy, _ = pair()
    with torch.no_grad():
        before = policy.evaluate(FACTS, Wants(values=True))
    values = exact_values(policy, FACTS, FACTS.rewards).roll(1, 1)
    before = replace(before, values=values)
    got = gradient_of(expected_loss(plain(gae_lambda=0.0), policy, None, FACTS, before), policy)
    assert (got + reward_gradient(policy)).norm() > 0.01


def test_the_critic_is_fitted_to_the_returns() -> None:
    policy, _ = pair()
    loss = expected_loss(plain(vf_coef=2.0, gae_lambda=1.0), policy, None, FACTS)
    got = torch.autograd.grad(loss, policy.critic_parameters(), retain_graph=True)
    to_go = FACTS.rewards.flip(1).cumsum(1).flip(1)
    often = log_probability(policy, FACTS).exp().detach()[:, None] * FACTS.action_mask
    values = policy.evaluate(FACTS, Wants(values=True)).values
    assert values is not None
    want = torch.autograd.grad((often * (values - to_go).square()).sum(), policy.critic_parameters())
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def test_the_entropy_bonus_has_the_gradient_of_the_entropy() -> None:
    policy, _ = pair()
    with_bonus = gradient_of(expected_loss(plain(entropy_coef=0.5), policy, None, FACTS), policy)
    without = gradient_of(expected_loss(plain(), policy, None, FACTS), policy)
    often = log_probability(policy, FACTS).exp().detach()[:, None] * FACTS.action_mask
    entropy = policy.evaluate(FACTS, Wants(entropy_gradient=True)).entropy
    assert entropy is not None
    want = gradient_of((often * torch.where(FACTS.action_mask, entropy, 0)).sum(), policy)
    torch.testing.assert_close(with_bonus - without, -0.5 * want, **CLOSE)


def optimum(reference: TinyPolicy, coef: float) -> torch.Tensor:
    """[texts] log-probabilities of ``reference * exp(reward / coef)``."""
    return (log_probability(reference, FACTS).detach() + FACTS.rewards.sum(1) / coef).log_softmax(0)


@pytest.mark.parametrize("kl", [KLInReward(coef=1.0), KLExact(coef=1.0)])
def test_it_converges_to_the_closed_form(kl: KLInReward | KLExact) -> None:
    reference = TinyPolicy(3, seed=2)
    policy = TinyPolicy(3, seed=2)
    method = plain(kl=kl, vf_coef=1.0, gae_lambda=0.9)
    best = optimum(reference, kl.coef)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    for _ in range(700):
        optimizer.zero_grad()
        expected_loss(method, policy, reference, FACTS).backward()
        optimizer.step()
    log_p = log_probability(policy, FACTS).detach()
    away = (log_p.exp() * (log_p - best)).sum()
    start = log_probability(reference, FACTS).detach()
    assert away < 1e-3
    assert (start.exp() * (start - best)).sum() > 0.2


def test_junk_on_pads_changes_nothing_bitwise() -> None:
    policy, reference = pair()
    method = PPO(entropy_coef=0.1, value_clip_range=0.2)
    losses = []
    for junk in (0.0, float("nan")):

        def spoil(thought: Evaluation, junk: float = junk) -> Evaluation:
            return Evaluation(
                **{
                    k: None if v is None else torch.where(FACTS.action_mask, v, junk)
                    for k, v in vars(thought).items()
                }
            )

        facts = replace(FACTS, rewards=torch.where(FACTS.action_mask, FACTS.rewards, junk))
        now = policy.evaluate(FACTS, replace(method.wants, values=True))
        with torch.no_grad():
            before = spoil(TinyPolicy(3, seed=3).evaluate(FACTS, Wants(values=True)))
            anchor = spoil(reference.evaluate(FACTS, Wants()))
        terms = method.loss(spoil(now), method.credit(facts, before, anchor))
        total = sum(
            (t.reduction(method.credit(facts, before, anchor)) * t.values).sum() * t.coef
            for t in terms.values()
            if t.coef
        )
        losses.append(torch.cat([g.flatten() for g in torch.autograd.grad(total, list(policy.parameters()))]))
    assert losses[0].isfinite().all()
    assert losses[0].any()
    assert torch.equal(losses[0], losses[1])
