"""polgrad 0.2.1, an independent reference: losses, advantages, KL and aggregation on the same tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.core.advantages import gae, group_centred, leave_one_out
from posttrain.core.batch import Evaluation
from posttrain.core.importance import Truncated
from posttrain.core.kl import KLInLoss, KLInReward, k1, k2, k3
from posttrain.core.masked import zero_outside
from posttrain.core.reduction import constant_length, row_total, sequence_mean, token_mean
from posttrain.policy_gradients.cispo import CISPO
from posttrain.policy_gradients.dapo import DAPO
from posttrain.policy_gradients.dr_grpo import DrGRPO
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.gspo import GSPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.policy_gradients.rloo import RLOO
from tests.peers.shared import (
    BEFORE,
    GROUP,
    MASK,
    REFERENCE,
    REWARD,
    SAMPLER,
    agree,
    draw,
    experience,
    facts,
    leaf,
    loss_of,
    ours,
)

polgrad = pytest.importorskip("polgrad", reason="pip install polgrad==0.2.1")
KINDS = {k1: polgrad.KLEstimator.K1, k2: polgrad.KLEstimator.K2, k3: polgrad.KLEstimator.K3}
STD = polgrad.GroupNormConfig(center=True, scale="std")
CENTRED = polgrad.GroupNormConfig(center=True, scale="none")


def theirs(config: Any, advantages: Tensor, **more: Tensor) -> tuple[Tensor, Tensor]:
    logprobs = leaf()
    result = polgrad.policy_loss(
        config, logprobs=logprobs, old_logprobs=BEFORE, advantages=advantages, response_mask=MASK, **more
    )
    (grad,) = torch.autograd.grad(result.loss, logprobs)
    return result.loss.detach(), grad


def spec(name: str, **changes: Any) -> Any:
    return replace(polgrad.get_algorithm(name).loss, **changes)


def clip(low: float, high: float) -> Any:
    return polgrad.ClipConfig(eps_low=low, eps_high=high)


def test_grpo_with_k3_in_the_loss() -> None:
    method = GRPO(kl=KLInLoss(coef=0.04, estimator=k3))
    advantages = polgrad.grpo_advantages(REWARD, GROUP, STD)
    agree(ours(method, experience(method)), theirs(spec("grpo"), advantages, ref_logprobs=REFERENCE))


def test_dr_grpo() -> None:
    method = DrGRPO(max_length=11)
    advantages = polgrad.grpo_advantages(REWARD, GROUP, CENTRED)
    agree(ours(method, experience(method)), theirs(spec("dr_grpo", norm_len=11), advantages))


def test_dapo() -> None:
    method = DAPO()
    advantages = polgrad.grpo_advantages(REWARD, GROUP, STD)
    agree(ours(method, experience(method)), theirs(spec("dapo"), advantages))


@pytest.mark.parametrize("name", ["gspo", "gspo_token"])
def test_gspo(name: str) -> None:
    """With the paper's clip hardly a row of so short answers would be inside; a wider one is compared."""
    method = GSPO(clip_range=0.3, clip_range_high=0.2)
    advantages = polgrad.grpo_advantages(REWARD, GROUP, STD)
    agree(ours(method, experience(method)), theirs(spec(name, clip=clip(0.3, 0.2)), advantages))


def test_cispo() -> None:
    method = CISPO(clip_range_high=0.2)
    advantages = polgrad.grpo_advantages(REWARD, GROUP, STD)
    agree(ours(method, experience(method)), theirs(spec("cispo"), advantages))


def test_rloo_with_its_kl_in_the_reward() -> None:
    method = RLOO(kl=KLInReward(coef=0.03))
    paid = polgrad.kl_in_reward(
        torch.zeros_like(BEFORE), BEFORE, REFERENCE, polgrad.KLEstimator.K1, 0.03, response_mask=MASK
    ).sum(1)
    agree(
        ours(method, experience(method)),
        theirs(spec("rloo"), polgrad.rloo_advantages(REWARD + paid, GROUP)),
    )


def test_ppo_with_a_truncated_correction() -> None:
    values = draw(7)
    method = PPO(whiten=False, kl=KLInReward(coef=0.0), vf_coef=0.0, correction=Truncated(cap=1.05))
    past = method.credit(facts(), Evaluation(logprobs=BEFORE, values=values), None)
    logprobs = leaf()
    loss = loss_of(method, past, Evaluation(logprobs=logprobs, values=values))
    (grad,) = torch.autograd.grad(loss, logprobs)
    advantages, returns = polgrad.gae(
        facts().rewards, values, config=polgrad.GAEConfig(gamma=1.0, lam=0.95), response_mask=MASK
    )
    torch.testing.assert_close(past.advantages, advantages)
    torch.testing.assert_close(zero_outside(past.returns, MASK), returns)
    corrected = spec("ppo", is_correction=polgrad.ISCorrectionConfig(cap=1.05))
    agree((loss.detach(), grad), theirs(corrected, advantages, rollout_logprobs=SAMPLER))


@pytest.mark.parametrize("near", [None, 0.2])
def test_the_critics_loss(near: float | None) -> None:
    values, old, returns = draw(8), draw(9), draw(10)
    found = polgrad.value_loss(
        values, old, returns, MASK, clip_eps=near, aggregation=polgrad.Aggregation.TOKEN_MEAN
    ).loss
    error = (values - returns).square()
    method = PPO(value_clip_range=near)
    past = replace(
        method.credit(facts(), Evaluation(logprobs=BEFORE, values=old), Evaluation(logprobs=REFERENCE)),
        returns=returns,
    )
    term = method.loss(Evaluation(logprobs=BEFORE, values=values), past)["value_loss"]
    torch.testing.assert_close((term.values * token_mean(past)).sum(), found)
    assert error.max() > 1


@pytest.mark.parametrize("estimator", KINDS)
def test_the_estimators_of_kl_and_their_places(estimator: Any) -> None:
    got = zero_outside(estimator(BEFORE, REFERENCE), MASK)
    torch.testing.assert_close(
        got, polgrad.kl_estimate(BEFORE, REFERENCE, KINDS[estimator], response_mask=MASK)
    )
    charged = KLInReward(coef=0.3, estimator=estimator).charge(
        facts().rewards, Evaluation(logprobs=BEFORE), Evaluation(logprobs=REFERENCE), MASK
    )
    torch.testing.assert_close(
        charged,
        polgrad.kl_in_reward(facts().rewards, BEFORE, REFERENCE, KINDS[estimator], 0.3, response_mask=MASK),
    )


def test_advantages_within_groups() -> None:
    torch.testing.assert_close(
        group_centred(REWARD, GROUP, std=True), polgrad.grpo_advantages(REWARD, GROUP, STD)
    )
    torch.testing.assert_close(group_centred(REWARD, GROUP), polgrad.grpo_advantages(REWARD, GROUP, CENTRED))
    torch.testing.assert_close(leave_one_out(REWARD, GROUP), polgrad.rloo_advantages(REWARD, GROUP))


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_generalized_advantages(gamma: float, lam: float) -> None:
    values = draw(11)
    mine = gae(facts().rewards, zero_outside(values, MASK), MASK, gamma=gamma, gae_lambda=lam)
    other, _ = polgrad.gae(
        facts().rewards, values, config=polgrad.GAEConfig(gamma=gamma, lam=lam), response_mask=MASK
    )
    torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    ("reduction", "name", "more"),
    [
        (token_mean, "TOKEN_MEAN", {}),
        (sequence_mean, "SEQ_MEAN_TOKEN_MEAN", {}),
        (row_total, "SEQ_MEAN_TOKEN_SUM", {}),
        (constant_length(9), "TOKEN_SUM_NORM", {"norm_len": 9}),
    ],
)
def test_reductions(reduction: Any, name: str, more: dict[str, int]) -> None:
    past = experience(GRPO())
    other = polgrad.effective_token_weights(MASK, polgrad.Aggregation[name], **more)
    torch.testing.assert_close(reduction(past), other)


def test_a_split_batch_weighs_as_the_whole_here_and_not_in_a_mean_of_means() -> None:
    """Why a reduction sees the whole batch: polgrad computes what the mean of micro-batches would weigh."""
    whole = token_mean(experience(GRPO()))
    split = polgrad.microbatch_token_weights(MASK, polgrad.Aggregation.TOKEN_MEAN, [3, 5])
    assert (whole - split).abs().max() > 0.005
