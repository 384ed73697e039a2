"""Every text of at most three tokens over three; 0 ends it. Expectations are sums, gradients are exact."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Experience, Policy, PolicyGradient, Rollouts, Wants
from posttrain.core.kl import exact
from tests.tiny import TinyPolicy, rollouts

V, LIMIT, START = 3, 3, 1


def texts() -> list[tuple[int, ...]]:
    """All texts: they end with 0, or at the limit."""
    found = []
    for length in range(1, LIMIT + 1):
        for text in itertools.product(range(V), repeat=length):
            if 0 not in text[:-1] and (text[-1] == 0 or length == LIMIT):
                found.append(text)
    return found


def everything(pad: int = 0) -> Rollouts:
    """All texts as rows after one token of prompt, with ``pad`` more columns; rewards at the end of each."""
    rows, width = texts(), LIMIT + pad
    tokens = torch.full((len(rows), width + 1), -1)
    tokens[:, 0] = START
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    rewards = torch.zeros(len(rows), width, dtype=torch.float64)
    for i, text in enumerate(rows):
        tokens[i, 1 : len(text) + 1] = torch.tensor(text)
        mask[i, : len(text)] = True
        rewards[i, len(text) - 1] = worth(text)
    return rollouts(tokens, mask, rewards=rewards, temperature=torch.ones(len(rows), dtype=torch.float64))


def worth(text: tuple[int, ...]) -> float:
    """Likes the token 2, dislikes length, and the second token matters only after a 1."""
    return 1.5 * text.count(2) - 0.4 * len(text) + (2.0 if text[:2] == (1, 2) else 0.0)


def log_probability(policy: Policy, facts: Rollouts) -> Tensor:
    """[B]: of each text."""
    return torch.where(facts.action_mask, policy.evaluate(facts, Wants()).logprobs, 0).sum(1)


def kl_now(policy: TinyPolicy, reference: TinyPolicy, facts: Rollouts) -> Tensor:
    """[]: KL(policy || reference) over whole texts."""
    log_p, log_q = log_probability(policy, facts), log_probability(reference, facts)
    return exact(log_p, log_q.detach())


def gradient_of(loss: Tensor, policy: TinyPolicy) -> Tensor:
    """The gradient in the policy's parameters, one vector."""
    grads = torch.autograd.grad(loss, policy.policy_parameters(), retain_graph=True)
    return torch.cat([g.flatten() for g in grads])


def exact_values(policy: TinyPolicy, facts: Rollouts, rewards: Tensor) -> Tensor:
    """[B, T]: what a text is expected to earn from step t on, given what stands before it."""
    with torch.no_grad():
        p = log_probability(policy, facts).exp()
    to_go = rewards.flip(1).cumsum(1).flip(1)
    prefixes = [
        [tuple(row[1 : t + 1].tolist()) for t in range(rewards.shape[1])] for row in facts.context["tokens"]
    ]
    values = torch.zeros_like(rewards)
    for t in range(rewards.shape[1]):
        for i in range(len(p)):
            if facts.action_mask[i, t]:
                same = torch.tensor([prefixes[j][t] == prefixes[i][t] for j in range(len(p))])
                same &= facts.action_mask[:, t]
                values[i, t] = (p[same] * to_go[same, t]).sum() / p[same].sum()
    return values


def expected_loss(
    method: PolicyGradient,
    policy: TinyPolicy,
    reference: TinyPolicy | None,
    facts: Rollouts,
    before: Evaluation | None = None,
) -> Tensor:
    """[]: what the method's loss would be, in sum over the steps of a text, averaged over infinitely many
    rollouts."""
    against = reference if method.wants.exact_kl else None
    now = policy.evaluate(facts, replace(method.wants, values=True), against)
    if before is None:
        before = Evaluation(**{k: None if v is None else v.detach() for k, v in vars(now).items()})
    anchor = None
    if reference is not None:
        with torch.no_grad():
            anchor = reference.evaluate(facts, Wants())
    past = method.credit(facts, before, anchor)
    assert isinstance(past, Experience)
    often = torch.where(facts.action_mask, before.logprobs, 0).sum(1, keepdim=True).exp()
    terms = method.loss(now, past)
    total = now.logprobs.new_zeros(())
    for term in terms.values():
        if term.coef:
            total = total + term.coef * (term.values * often * facts.action_mask).sum()
    return total
