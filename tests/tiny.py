"""A policy and a critic small enough to enumerate: tables read through one-hot features, on [B, T+1]
tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from posttrain.core.batch import Evaluation, Policy, Rollouts, Wants
from posttrain.core.logprobs import chosen_logprobs


def rollouts(
    tokens: Tensor, mask: Tensor, *, rewards: Tensor | None = None, group: Tensor | None = None, **facts: Any
) -> Rollouts:
    """Rows of ``tokens`` [B, T+1] whose chosen steps are ``mask`` [B, T]; step t chooses tokens[:, t + 1]."""
    rows, steps = mask.shape
    plain = Rollouts(
        context={"tokens": tokens},
        actions=tokens[:, 1:],
        action_mask=mask,
        turn=torch.zeros(rows, steps, dtype=torch.long),
        logprobs=torch.full((rows, steps), float("nan")),
        rewards=torch.zeros(rows, steps) if rewards is None else rewards,
        truncated=torch.zeros(rows, dtype=torch.bool),
        group=torch.arange(rows) if group is None else group,
        temperature=torch.ones(rows),
        version=torch.zeros(rows, dtype=torch.long),
    )
    return replace(plain, **facts)


class TinyPolicy(nn.Module):
    """A recurrent policy over V tokens with a critic of its own; padding (-1) leaves its state as it is."""

    def __init__(
        self, vocabulary: int = 5, width: int = 8, seed: int = 0, dtype: torch.dtype = torch.float64
    ):
        super().__init__()
        g = torch.Generator().manual_seed(seed)

        def table(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype) * 0.5)

        self.embed, self.mix, self.head = (
            table(vocabulary, width),
            table(width, width),
            table(vocabulary, width),
        )
        self.critic_embed, self.critic_head = table(vocabulary, width), table(width)
        self.critic_mix = table(width, width)

    def states(self, tokens: Tensor, embed: Tensor, mix: Tensor) -> Tensor:
        """[B, T+1] -> [B, T+1, D]."""
        state, out = embed.new_zeros(tokens.shape[0], embed.shape[1]), []
        for column in tokens.unbind(1):
            new = torch.tanh(embed[column.clamp(min=0)] + state @ mix)
            state = torch.where((column >= 0)[:, None], new, state)
            out.append(state)
        return torch.stack(out, 1)

    def policy_parameters(self) -> list[nn.Parameter]:
        return [self.embed, self.mix, self.head]

    def critic_parameters(self) -> list[nn.Parameter]:
        return [self.critic_embed, self.critic_mix, self.critic_head]

    def evaluate(self, rollouts: Rollouts, wants: Wants, against: Policy | None = None) -> Evaluation:
        tokens, mask = rollouts.context["tokens"], rollouts.action_mask
        hidden = self.states(tokens, self.embed, self.mix)[:, :-1][mask]
        other = None
        if against is not None:
            assert isinstance(against, TinyPolicy)
            other = (against.states(tokens, against.embed, against.mix)[:, :-1][mask], against.head, None)
        scored = chosen_logprobs(
            hidden,
            self.head,
            rollouts.actions[mask],
            temperature=rollouts.temperature[:, None].expand_as(mask)[mask],
            against=other,
            entropy=wants.entropy,
            entropy_gradient=wants.entropy_gradient,
        )

        def spread(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.new_full(mask.shape, float("nan")).masked_scatter(mask, x)

        values = self.score(rollouts) if wants.values else None
        logprobs = spread(scored.logprobs)
        assert logprobs is not None
        return Evaluation(
            logprobs=logprobs, entropy=spread(scored.entropy), values=values, kl=spread(scored.kl)
        )

    def score(self, rollouts: Rollouts) -> Tensor:
        """[B, T] from the critic's trunk."""
        states = self.states(rollouts.context["tokens"], self.critic_embed, self.critic_mix)[:, :-1]
        return states @ self.critic_head
