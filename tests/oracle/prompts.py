"""Every answer to prompts of different lengths: the closed forms, and groups and pairs with their exact
probabilities.

A world is small enough that an expectation is a sum. Token 0 ends an answer; pads are -1.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

from posttrain.core.batch import Evaluation, Policy, Rollouts, Wants, take
from posttrain.core.kl import exact
from tests.tiny import TinyPolicy, rollouts

WIDE = torch.float64


@dataclass(frozen=True)
class World:
    """All answers of at most ``limit`` tokens over ``vocabulary`` to each prompt."""

    vocabulary: int = 3
    limit: int = 2
    prompts: tuple[tuple[int, ...], ...] = ((1,), (2, 1, 2))
    stakes: tuple[float, ...] = (1.0, 0.4)  # how much is at stake at each prompt

    @cached_property
    def answers(self) -> list[tuple[int, ...]]:
        """They end with 0, or at the limit."""
        every = (
            text
            for length in range(1, self.limit + 1)
            for text in itertools.product(range(self.vocabulary), repeat=length)
        )
        return [text for text in every if 0 not in text[:-1] and (text[-1] == 0 or len(text) == self.limit)]

    @cached_property
    def facts(self) -> Rollouts:
        """Each answer to each prompt, prompt by prompt; ``group`` is the prompt, ``state`` what stands before
        a step."""
        width = max(len(p) for p in self.prompts) + self.limit
        rows = [(p, prompt, text) for p, prompt in enumerate(self.prompts) for text in self.answers]
        tokens = torch.full((len(rows), width), -1)
        mask = torch.zeros(len(rows), width - 1, dtype=torch.bool)
        rewards = torch.zeros(len(rows), width - 1, dtype=WIDE)
        state = torch.zeros(len(rows), width - 1, dtype=torch.long)
        places: dict[tuple[int, ...], int] = {}
        for i, (p, prompt, text) in enumerate(rows):
            said = prompt + text
            tokens[i, : len(said)] = torch.tensor(said)
            mask[i, len(prompt) - 1 : len(said) - 1] = True
            rewards[i, len(said) - 2] = self.worth(p, text)
            for t in range(len(text)):
                before = (p, *text[:t])
                state[i, len(prompt) - 1 + t] = places.setdefault(before, len(places))
        return rollouts(
            tokens,
            mask,
            rewards=rewards,
            group=torch.tensor([p for p, _, _ in rows]),
            context={"tokens": tokens, "state": state, "row": torch.arange(len(rows))},
            temperature=torch.ones(len(rows), dtype=WIDE),
        )

    def worth(self, prompt: int, text: tuple[int, ...]) -> float:
        """Likes the token 2, dislikes length, and a 2 after a 1 more than by itself; the other way round at
        every second prompt."""
        liked = 1.2 * text.count(2) - 0.5 * len(text) + (1.5 if text[:2] == (1, 2) else 0.0)
        return self.stakes[prompt] * (-1 if prompt % 2 else 1) * liked

    @cached_property
    def rewards(self) -> Tensor:
        """[prompts, answers]"""
        return self.per_prompt(self.facts.rewards.sum(1))

    @property
    def states(self) -> int:
        return int(self.facts.context["state"].max()) + 1

    def per_prompt(self, x: Tensor) -> Tensor:
        """[rows] -> [prompts, answers]"""
        return x.reshape(len(self.prompts), len(self.answers))

    def row(self, prompt: int, answer: int) -> int:
        return prompt * len(self.answers) + answer

    def logprobs(self, policy: Policy) -> Tensor:
        """[prompts, answers] of each answer."""
        found = policy.evaluate(self.facts, Wants(entropy=False)).logprobs
        return self.per_prompt(torch.where(self.facts.action_mask, found, 0).sum(1))

    def best(self, reference: Policy, beta: float) -> Tensor:
        """[prompts, answers] log-probabilities of ``reference * exp(reward / beta)``."""
        return (self.logprobs(reference).detach() + self.rewards / beta).log_softmax(1)

    def away(self, policy: Policy, target: Tensor) -> float:
        """KL(policy || target), the mean over prompts, in nats."""
        return float(exact(self.logprobs(policy).detach(), target).mean())

    def kl(self, policy: Policy, reference: Policy) -> Tensor:
        """[]: KL(policy || reference), the mean over prompts, with its gradient."""
        return exact(self.logprobs(policy), self.logprobs(reference).detach()).mean()

    def earned(self, policy: Policy) -> Tensor:
        """[]: the expected reward, the mean over prompts, with its gradient."""
        return (self.logprobs(policy).exp() * self.rewards).sum(1).mean()


class Tabular(nn.Module):
    """A policy with a logit for every token in every state, and a critic with a value for every state."""

    def __init__(self, world: World, seed: int = 0, scale: float = 0.6) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(
            torch.randn(world.states, world.vocabulary, generator=g, dtype=WIDE) * scale
        )
        self.values = nn.Parameter(torch.zeros(world.states, dtype=WIDE))

    def policy_parameters(self) -> list[nn.Parameter]:
        return [self.logits]

    def evaluate(self, rollouts: Rollouts, wants: Wants, against: Policy | None = None) -> Evaluation:
        state, table = rollouts.context["state"], self.logits.log_softmax(-1)
        logprobs = table[state].gather(-1, rollouts.actions.clamp(min=0)[..., None])[..., 0]
        entropy = -(table.exp() * table).sum(-1)[state] if wants.entropy or wants.entropy_gradient else None
        kl = None
        if against is not None:
            assert isinstance(against, Tabular)
            kl = exact(table, against.logits.detach())[state]
        values = self.values[state] if wants.values else None
        return Evaluation(logprobs=logprobs, entropy=entropy, values=values, kl=kl)

    def score(self, rollouts: Rollouts) -> Tensor:
        """[B, T]: the logits as rewards of the steps chosen, so that any reward of steps can be learned."""
        return self.logits[rollouts.context["state"]].gather(-1, rollouts.actions.clamp(min=0)[..., None])[
            ..., 0
        ]


class TinyTransformer(TinyPolicy):
    """One layer of causal attention over learned absolute positions, counted from a row's first token; the
    critic is the parent's."""

    def __init__(self, vocabulary: int = 3, width: int = 8, seed: int = 0, longest: int = 8) -> None:
        super().__init__(vocabulary, width, seed)
        g = torch.Generator().manual_seed(seed + 1000)

        def table(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=g, dtype=WIDE) * 0.5)

        self.positions, self.key = table(longest, width), table(width, width)
        self.query, self.value = table(width, width), table(width, width)

    def policy_parameters(self) -> list[nn.Parameter]:
        return [*super().policy_parameters(), self.positions, self.key, self.query, self.value]

    def states(self, tokens: Tensor, embed: Tensor, mix: Tensor) -> Tensor:
        """[B, T+1] -> [B, T+1, D]"""
        if embed is self.critic_embed:
            return super().states(tokens, embed, mix)
        here = tokens >= 0
        place = (here.long().cumsum(1) - 1).clamp(min=0)
        x = embed[tokens.clamp(min=0)] + self.positions[place]
        count = tokens.shape[1]
        seen = torch.ones(count, count, dtype=torch.bool).tril() & here[:, None, :]
        seen = seen | torch.eye(count, dtype=torch.bool)  # a pad sees itself, so that nothing is 0 / 0
        score = (x @ self.query) @ (x @ self.key).transpose(1, 2) / x.shape[-1] ** 0.5
        x = x + score.masked_fill(~seen, -math.inf).softmax(-1) @ (x @ self.value)
        return x + torch.tanh(x @ mix)


def groups_of(log_p: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Every multiset of ``size`` answers drawn from [answers] log-probabilities.

    Returns:
        [multisets, size] long, and [multisets] their probabilities (a multiset in any order).
    """
    sets, orders = _multisets(len(log_p), size)
    return sets, (orders + log_p[sets].sum(1)).exp()


@cache
def _multisets(n: int, size: int) -> tuple[Tensor, Tensor]:
    """All of them, and the logarithm of how many orders each has."""
    sets = torch.tensor(list(itertools.combinations_with_replacement(range(n), size)))
    count = torch.zeros(len(sets), n, dtype=WIDE).scatter_add(1, sets, torch.ones(sets.shape, dtype=WIDE))
    return sets, math.lgamma(size + 1) - torch.lgamma(count + 1).sum(1)


def drawn(p: Tensor, count: int, offset: float) -> Tensor:
    """[count] long: indices drawn so that each appears ``count * p`` times, rounded up or down: every draw is
    right on average, and all together have next to no noise."""
    edges = p.cumsum(0) / p.sum()
    marks = (torch.arange(count, dtype=p.dtype) + offset) / count
    return torch.searchsorted(edges, marks).clamp(max=len(p) - 1)


def batch_of(world: World, rows: Tensor, **facts: Any) -> Rollouts:
    """[groups, size] rows of the world as a batch; every line is a group of its own."""
    made = take(world.facts, rows.flatten())
    group = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
    return replace(made, group=group, **facts)
