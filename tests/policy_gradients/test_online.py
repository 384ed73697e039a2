"""Methods that rank the policy's own answers, where all of them can be counted."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Policy, PolicyGradient, Rollouts, Wants
from posttrain.core.kl import KLInReward
from posttrain.core.preferences import best_and_worst
from posttrain.direct_alignment.ipo import IPO
from posttrain.direct_alignment.kto import KTO
from posttrain.policy_gradients.nash_md import NashMD
from posttrain.policy_gradients.online_dpo import OnlineDPO
from posttrain.policy_gradients.xpo import XPO
from posttrain.training.optimizer import Group, Optimizer, cosine
from posttrain.training.rl_loop import RLState, train_rl
from tests.tiny import rollouts

BETA = 0.5
REWARD = torch.tensor([1.0, -0.5, 0.3, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.2, -0.4, 0.7, -1.0], dtype=torch.float64).log_softmax(0)
BEST = (REFERENCE + REWARD / BETA).log_softmax(0)


def facts(answers: Tensor, group: Tensor, sampler: Tensor | None = None) -> Rollouts:
    """[n] answers as rows of two steps; the answer is the first, the second has probability 1."""
    rewards = torch.stack([torch.zeros(len(answers), dtype=torch.float64), REWARD[answers]], 1)
    known = torch.full((len(answers), 2), torch.nan, dtype=torch.float64)
    if sampler is not None:
        known = torch.stack([sampler[answers], torch.zeros_like(rewards[:, 0])], 1)
    tokens = torch.stack([torch.zeros_like(answers), answers, torch.zeros_like(answers)], 1)
    mask = torch.ones(len(answers), 2, dtype=torch.bool)
    return rollouts(tokens, mask, rewards=rewards, group=group, logprobs=known)


class Table:
    """A policy of four answers."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.clone().requires_grad_()

    def evaluate(self, rollouts: Rollouts, wants: Wants, against: Policy | None = None) -> Evaluation:
        first = self.logits.log_softmax(0)[rollouts.actions[:, 0]]
        return Evaluation(logprobs=torch.stack([first, torch.zeros_like(first)], 1))


def expected_gradient(method: PolicyGradient, logits: Tensor, answers: int = 2) -> Tensor:
    """[4]: the gradient of the loss, in exact expectation over every group of ``answers`` samples."""
    policy, anchor = Table(logits), Table(REFERENCE)
    total = torch.zeros((), dtype=torch.float64)
    sampler = logits.log_softmax(0)
    for group in itertools.product(range(4), repeat=answers):
        rows = facts(torch.tensor(group), torch.zeros(answers, dtype=torch.long), sampler)
        with torch.no_grad():
            before, reference = (p.evaluate(rows, method.wants) for p in (policy, anchor))
        past = method.credit(rows, before, reference)
        terms = method.loss(policy.evaluate(rows, method.wants), past)
        loss = sum((t.reduction(past) * t.values).sum() * t.coef for t in terms.values() if t.coef)
        total = total + sampler[list(group)].sum().exp() * loss
    return torch.autograd.grad(total, policy.logits)[0]


def kl(policy: Tensor, other: Tensor) -> float:
    policy, other = policy.detach().log_softmax(0), other.log_softmax(0)
    return float((policy.exp() * (policy - other)).sum())


def descended(method: PolicyGradient, steps: int, rate: float) -> Tensor:
    logits = REFERENCE.clone()
    for _ in range(steps):
        logits = logits - rate * expected_gradient(method, logits)
    return logits


def dpo(**more: float) -> OnlineDPO:
    method = OnlineDPO(**more)  # type: ignore[arg-type]
    return replace(method, alignment=replace(method.alignment, beta=BETA))  # type: ignore[type-var]


@pytest.mark.parametrize("answers", [2, 3])
def test_online_dpo_stands_still_at_the_optimum_of_the_reward(answers: int) -> None:
    assert expected_gradient(dpo(), BEST, answers).abs().max() < 1e-9
    assert expected_gradient(dpo(), REFERENCE, answers).abs().max() > 1e-3


def test_online_dpo_gets_there_and_certain_labels_go_past_it() -> None:
    assert kl(descended(dpo(), 80, 20.0), BEST) < 1e-4
    certain = dpo(label_temperature=0.0)
    assert expected_gradient(certain, BEST).abs().max() > 1e-3
    assert kl(descended(certain, 80, 20.0), BEST) > 0.2


def test_another_alignment_has_its_own_optimum() -> None:
    assert expected_gradient(OnlineDPO(alignment=IPO(beta=BETA)), BEST).abs().max() > 1e-3


def test_an_alignment_that_measures_the_whole_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="KTO"):
        OnlineDPO(alignment=KTO())


def test_the_best_and_the_worst_make_the_pair() -> None:
    rows = facts(torch.tensor([3, 0, 1, 2, 2, 1]), torch.tensor([7, 7, 7, 2, 2, 5]))
    judged = best_and_worst(rows)
    assert judged.rank[:3].tolist() == [-1, 0, 1]
    assert sorted(judged.rank[3:5].tolist()) == [0, 1], "equals are a pair of even odds"
    assert judged.rank[5] == -1, "a row on its own is not compared"
    assert judged.confidence[:3].tolist() == pytest.approx([1, 0.8175744762, 0.8175744762])
    assert judged.confidence[3:5].tolist() == [0.5, 0.5]
    sure = best_and_worst(rows, label_temperature=0)
    assert sure.rank.tolist() == [-1, 0, 1, -1, -1, -1], "equals are no pair where labels are certain"
    assert sure.confidence.tolist() == [1] * 6


@pytest.mark.parametrize("method", [OnlineDPO(), XPO(), NashMD()], ids=lambda m: type(m).__name__)
def test_one_answer_a_prompt_is_refused(method: PolicyGradient) -> None:
    rows = facts(torch.tensor([0, 1]), torch.tensor([0, 1]))
    thought = Table(REFERENCE).evaluate(rows, Wants())
    with pytest.raises(ValueError, match="group"):
        method.credit(rows, thought, thought)


def test_xpo_without_a_bonus_is_online_dpo() -> None:
    torch.testing.assert_close(
        expected_gradient(XPO(alpha=0.0), REFERENCE), expected_gradient(OnlineDPO(), REFERENCE)
    )


def test_the_bonus_is_taken_over_what_the_reference_would_say() -> None:
    """alpha E_{y ~ ref}[grad log pi(y)] = alpha (ref - pi) for a softmax table, whoever sampled."""
    logits = REFERENCE + torch.tensor([0.4, 0.1, -0.3, 0.2], dtype=torch.float64)
    plain, curious = (expected_gradient(XPO(alpha=alpha, max_weight=1e9), logits) for alpha in (0.0, 0.3))
    want = 0.3 * (REFERENCE.exp() - logits.softmax(0))
    torch.testing.assert_close(curious - plain, want, atol=1e-12, rtol=0)


def test_xpo_leaves_the_optimum_by_as_much_as_it_explores() -> None:
    off = [
        float(expected_gradient(XPO(alpha=a, alignment=dpo().alignment), BEST).norm()) for a in (0.01, 0.1)
    ]
    assert off[0] > 1e-6
    assert off[1] == pytest.approx(10 * off[0])


def equilibrium(tau: float) -> Tensor:
    """[4] logits of ``pi ~ ref exp(P(y > pi) / tau)``, by damped iteration."""
    wins, logits = torch.sigmoid(REWARD[:, None] - REWARD[None, :]), REFERENCE
    for _ in range(2000):
        logits = 0.5 * logits + 0.5 * (REFERENCE + wins @ logits.softmax(0) / tau)
        logits = logits.log_softmax(0)
    return logits


def test_nash_md_stands_still_at_the_equilibrium() -> None:
    method = NashMD(mixture=0.0, kl=KLInReward(coef=0.2))
    found = equilibrium(0.2)
    assert expected_gradient(method, found).abs().max() < 1e-9
    assert expected_gradient(method, found, answers=3).abs().max() < 1e-9
    assert expected_gradient(method, REFERENCE).abs().max() > 1e-3
    assert kl(found, REFERENCE + REWARD / 0.2) > 0.05, "which is not the optimum of the reward"


def test_the_mixture_weighs_opponents_by_the_reference() -> None:
    answers, method = torch.tensor([0, 1, 2]), NashMD(mixture=0.5, kl=KLInReward(coef=0.0))
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5], dtype=torch.float64).log_softmax(0)
    rows = facts(answers, torch.zeros(3, dtype=torch.long))
    before, reference = (Table(x).evaluate(rows, Wants()) for x in (logits, REFERENCE))
    past = method.credit(rows, before, reference)
    w = (0.5 * (REFERENCE - logits)).exp()
    for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        won = sum(w[o] * (torch.sigmoid(REWARD[i] - REWARD[o]) - 0.5) for o in (j, k)) / (w[j] + w[k])
        assert past.advantages[i].tolist() == pytest.approx([float(won)] * 2)


def test_online_dpo_runs_in_the_loop_of_reinforcement() -> None:
    """From samples: four answers to each of 32 prompts a step."""
    policy, generator = Table(REFERENCE), torch.Generator().manual_seed(0)

    def collect(step: int) -> Rollouts:
        p = policy.logits.detach().softmax(0)
        answers = torch.multinomial(p, 128, replacement=True, generator=generator)
        rows = facts(answers, torch.arange(128) // 4, p.log())
        return replace(rows, version=torch.full((128,), step))

    steps = 120
    optimizer = Optimizer(
        [Group(name="policy", parameters=[policy.logits], learning_rate=0.08)],  # type: ignore[list-item]
        schedule=cosine(steps),
    )
    loop = train_rl(
        RLState(),
        policy,
        dpo(),
        collect,
        optimizer,
        lambda version: None,
        steps=steps,
        reference=Table(REFERENCE),
        micro_batch_tokens=64,
    )
    metrics = list(loop)
    assert kl(policy.logits, BEST) < 0.02
    assert metrics[-1]["reward"] > metrics[0]["reward"]
    assert metrics[-1]["accuracy"] > 0.5
