from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Evaluation, Experience
from posttrain.core.importance import Truncated
from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.ppo import PPO
from tests.tiny import rollouts

MASK = torch.tensor([[False, True, True, True], [False, True, True, False]])
REWARDS = torch.tensor([[0.0, 0, 0, 2], [0, 0, -1, 0]])
FACTS = rollouts(torch.zeros(2, 5, dtype=torch.long), MASK, rewards=REWARDS)


def thought(logprobs: float, values: float = 0.0, **more: torch.Tensor) -> Evaluation:
    return Evaluation(logprobs=torch.full((2, 4), logprobs), values=torch.full((2, 4), values), **more)


def experience(method: PPO, advantages: float = 1.0) -> Experience:
    past = method.credit(FACTS, thought(-1.0), thought(-1.0))
    return replace(past, advantages=advantages * MASK)


def test_credit_by_hand() -> None:
    method = PPO(gae_lambda=1.0, whiten=False, kl=KLInReward(coef=0.1))
    past = method.credit(FACTS, thought(-1.0, 0.5), thought(-2.0))
    torch.testing.assert_close(past.returns, torch.tensor([[0, 1.7, 1.8, 1.9], [0, -1.2, -1.1, 0]]))
    assert past.returns is not None
    torch.testing.assert_close(past.advantages, (past.returns - 0.5) * MASK)
    assert torch.equal(past.weights, MASK.float())


def test_whitening_moves_advantages_and_not_returns() -> None:
    raw = PPO(whiten=False).credit(FACTS, thought(-1.0), thought(-1.0))
    white = PPO().credit(FACTS, thought(-1.0), thought(-1.0))
    assert raw.returns is not None
    assert white.returns is not None
    assert torch.equal(raw.returns, white.returns)
    assert white.advantages[MASK].mean().abs() < 1e-6
    assert raw.advantages[MASK].mean() > 0.1


def test_a_cut_completion_is_paid_as_it_stands_unless_asked() -> None:
    before = thought(-1.0, bootstrap=torch.full((2,), 100.0))
    cut = replace(FACTS, truncated=torch.tensor([True, False]))
    alone = PPO(whiten=False).credit(cut, before, before)
    assert alone.returns is not None
    assert alone.returns.max() <= 2
    going_on = PPO(whiten=False, gae_lambda=1.0, bootstrap_truncated=True).credit(cut, before, before)
    assert going_on.returns is not None
    assert going_on.returns[0, 1:].tolist() == [102, 102, 102]
    assert going_on.returns[1].max() <= 0


@pytest.mark.parametrize(("advantage", "ratio", "passes"), [
    (1.0, 1.5, False), (1.0, 0.5, True), (-1.0, 0.5, False), (-1.0, 1.5, True), (1.0, 1.1, True),
])  # fmt: skip
def test_the_clip_stops_what_went_too_far_the_right_way(advantage: float, ratio: float, passes: bool) -> None:
    method = PPO()
    logprobs = (torch.full((2, 4), -1.0) + torch.tensor(ratio).log()).requires_grad_()
    now = Evaluation(logprobs=logprobs, values=torch.zeros(2, 4))
    method.loss(now, experience(method, advantage))["policy_loss"].values.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad[MASK].bool().all() == passes
    assert not logprobs.grad[~MASK].any()


def test_the_value_clip_takes_the_worse_error() -> None:
    method = PPO(value_clip_range=0.2)
    past = replace(experience(method), returns=torch.full((2, 4), 1.0))
    values = method.loss(thought(-1.0, 0.9), past)["value_loss"].values
    torch.testing.assert_close(values[MASK], torch.full((5,), 0.8**2 / 2))
    values = PPO().loss(thought(-1.0, 0.9), past)["value_loss"].values
    torch.testing.assert_close(values[MASK], torch.full((5,), 0.1**2 / 2))


def test_metrics_by_hand() -> None:
    method = PPO()
    now = thought(-1.0, entropy=torch.full((2, 4), 0.7))
    now.logprobs[0, 1] += torch.tensor(1.5).log()
    terms = method.loss(now, experience(method))
    past = experience(method)

    def mean(name: str) -> float:
        return float((terms[name].reduction(past) * terms[name].values).sum())

    assert mean("clip_fraction") == pytest.approx(1 / 5)
    assert mean("approx_kl") == pytest.approx((1.5 - 1 - torch.tensor(1.5).log().item()) / 5, rel=1e-5)
    assert mean("entropy") == pytest.approx(0.7)
    assert terms["ratio_max"].values.max().item() == pytest.approx(1.5)
    assert {name for name, term in terms.items() if term.coef} == {"policy_loss", "value_loss"}


def test_a_critic_is_needed() -> None:
    blind = Evaluation(logprobs=torch.zeros(2, 4))
    with pytest.raises(ValueError, match="critic"):
        PPO().credit(FACTS, blind, blind)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": 1.5},
        {"gae_lambda": -0.1},
        {"clip_range": -1},
        {"clip_range": float("nan")},
        {"value_clip_range": 0.0},
        {"vf_coef": -0.5},
        {"entropy_coef": float("inf")},
        {"epochs": 0},
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PPO(**wrong)  # type: ignore[arg-type]


def test_a_correction_weighs_steps_where_sampler_and_trainer_disagree() -> None:
    sampled = replace(FACTS, logprobs=torch.full((2, 4), -2.0))
    past = PPO(correction=Truncated(cap=2.0)).credit(sampled, thought(-1.0), thought(-1.0))
    assert torch.equal(past.weights, 2.0 * MASK)
    half = replace(past, weights=past.weights / 4)
    whole, less = (PPO().loss(thought(-1.0), p)["policy_loss"].values for p in (past, half))
    assert whole.any()
    torch.testing.assert_close(less, whole / 4)
