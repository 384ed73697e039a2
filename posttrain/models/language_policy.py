"""A transformer as a Policy and as a reward model: no padding computed inside, ``[B, T]`` outside.

Rows are packed into lines in which what they share, such as a prompt, stands once (``sub_batches``).
Logits exist only at the positions of actions, a tile at a time (``core.logprobs``).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from posttrain.core.batch import Evaluation, Policy, Rollouts, Wants, take
from posttrain.core.logit_transform import LogitTransform
from posttrain.core.logprobs import Head, Scored, chosen_logprobs
from posttrain.models.packed_attention import in_one_call, packs
from posttrain.models.positions import check_rows
from posttrain.models.reading import is_mean
from posttrain.models.role import Role, role_of
from posttrain.models.sub_batches import SubBatch, sub_batches

SUB_BATCH_TOKENS = 2048  # measured: larger ones leave the processor's cache, smaller ones cost calls


def _longest(rollouts: Rollouts, roles: list[Role], packed: bool) -> int:
    """How long a row may be that all of these read in a line. On a GPU a line's rows attend in one call, or
    they are padded. Raises UserError for a row that one of them would not read as it reads it alone.
    """
    rows = int(rollouts.context["attention_mask"].sum(1).max())
    for role in roles:
        check_rows(role.trunk, rows)
    if not packed:
        return 0
    for role in roles:
        if role.device.type != "cpu" and not in_one_call(role.trunk, role.device, role.compute_dtype):
            return 0
    return min(packs(role.trunk) for role in roles)


def _different(rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    """[U] the first row of each distinct one, and [B] the index of a row's distinct one.

    Rows are equal with the same tokens and the same action mask.
    """
    tokens, real = rollouts.context["tokens"], rollouts.context["attention_mask"].bool()
    kind = torch.cat([torch.where(real, tokens, -1), rollouts.action_mask.long()], 1)
    if len(rollouts.temperature.unique()) > 1:
        kind = torch.cat([kind, torch.arange(len(kind), device=kind.device)[:, None]], 1)
    kinds, each = torch.unique(kind, dim=0, return_inverse=True)
    row = torch.arange(len(kind), device=kind.device)
    first = row.new_full((len(kinds),), len(kind)).scatter_reduce(0, each, row, "amin")
    order = first.argsort()
    return first[order], order.argsort()[each]


def _scatter(values: Tensor, parts: list[SubBatch], like: Tensor) -> Tensor:
    """[n] values of the actions of all parts to [B, T], zero elsewhere."""
    rows, steps = torch.cat([p.rows for p in parts]), torch.cat([p.steps for p in parts])
    values = values.to(like.device)
    return values.new_zeros(like.shape).index_put((rows, steps), values)


class LanguagePolicy:
    """The ``Policy`` of a causal language model, with a critic if there is one.

    ``policy`` and ``critic`` are transformers models (a critic has one label) or roles on a shared trunk.
    The critic may share the policy's trunk and adapter; one forward then serves both. Without ``packed``
    rows are read padded, each with all its tokens.
    """

    def __init__(
        self,
        policy: PreTrainedModel | Role,
        critic: PreTrainedModel | Role | None = None,
        *,
        sub_batch_tokens: int = SUB_BATCH_TOKENS,
        packed: bool = True,
    ) -> None:
        self.policy: Role = role_of(policy)
        self.critic: Role | None = None if critic is None else role_of(critic)
        self.sub_batch_tokens = sub_batch_tokens
        self.packed = packed

    def parameters_of(self, role: str) -> list[nn.Parameter]:
        """The parameter group of ``"policy"`` or ``"critic"``; none is in both, the policy's come first."""
        policy = self.policy.parameters()
        if role == "policy":
            return policy
        if role != "critic":
            raise ValueError(f"role {role!r}; expected 'policy' or 'critic'")
        taken = {id(p) for p in policy}
        return [p for p in self.critic.parameters() if id(p) not in taken] if self.critic else []

    def evaluate(self, rollouts: Rollouts, wants: Wants, against: Policy | None = None) -> Evaluation:
        """Log-probabilities at temperature ``rollouts.temperature``, and what else ``wants`` asks for.

        ``values[:, t]`` is the critic's value of the state in which step t was chosen, ``bootstrap`` of
        the state after the last step. ``against`` (a LanguagePolicy) gives ``kl``: exact KL of this
        policy's distribution at each step from its. Entries outside ``action_mask`` are zero. Raises
        ValueError where a critic is wanted and there is none, UserError for a row beyond the length up to
        which the model's result does not depend on the batch (``models.positions``).
        """
        if wants.values and self.critic is None:
            raise ValueError("values are wanted but this policy has no critic")
        if against is not None and not isinstance(against, LanguagePolicy):
            raise ValueError("exact KL needs a language policy to compare with")
        critic = self.critic if wants.values else None
        other = against.policy if against is not None and wants.exact_kl else None
        parts = list(
            sub_batches(
                rollouts,
                self.policy.device,
                self.sub_batch_tokens,
                longest=_longest(
                    rollouts, [r for r in (self.policy, critic, other) if r is not None], self.packed
                ),
            )
        )
        states, others, values, ends = [], [], [], []
        for part in parts:
            hidden = self.policy.states(part)
            states.append(hidden[part.places])
            if critic is not None:
                trunk_states = hidden if critic.shares_forward_with(self.policy) else critic.states(part)
                values.append(critic.scalar(trunk_states[part.places]))
                ends.append(critic.scalar(trunk_states[part.ends]))
            if other is not None:
                with torch.no_grad():
                    others.append(other.states(part)[part.places.to(other.device)])
        head = (self.policy.head, self.policy.transform)
        scored = _chosen_logprobs(head, states, parts, rollouts, wants, (other, others))
        like = rollouts.actions
        bootstrap = None
        if critic is not None:
            order, last = torch.cat([part.members for part in parts]), torch.cat(ends).to(like.device)
            bootstrap = last.new_zeros(len(rollouts)).index_put((order,), last)
        return Evaluation(
            logprobs=_scatter(scored.logprobs, parts, like),
            entropy=None if scored.entropy is None else _scatter(scored.entropy, parts, like),
            values=_scatter(torch.cat(values), parts, like) if critic is not None else None,
            bootstrap=bootstrap,
            kl=None if scored.kl is None else _scatter(scored.kl, parts, like),
        )


def _chosen_logprobs(
    words: tuple[nn.Linear, LogitTransform],
    states: list[Tensor],
    parts: list[SubBatch],
    rollouts: Rollouts,
    wants: Wants,
    against: tuple[Role | None, list[Tensor]],
) -> Scored:
    """What a head says of the actions of all parts, in whose ``states`` [n, D] they were chosen: in one
    call, so that the gradient of the head is made once.
    """
    head, transform = words
    device = states[0].device
    rows, steps = torch.cat([part.rows for part in parts]), torch.cat([part.steps for part in parts])
    other = None
    if against[0] is not None:
        still = against[0].head
        others = torch.cat(against[1]).to(device)
        other = Head(others, still.weight.to(device), still.bias, against[0].transform)
    return chosen_logprobs(
        torch.cat(states),
        head.weight,
        rollouts.actions[rows, steps].to(device),
        temperature=rollouts.temperature[rows].to(device),
        bias=getattr(head, "bias", None),
        transform=transform,
        against=other,
        entropy=wants.entropy,
        entropy_gradient=wants.entropy_gradient,
    )


class LanguageReward:
    """A reward model: a transformer with one label, or such a role on a shared trunk.

    A score is read at the answer's last token, or with ``mean`` as the mean over its tokens; None asks the
    config of ``model`` which it was trained on.
    """

    def __init__(
        self,
        model: PreTrainedModel | Role,
        *,
        mean: bool | None = None,
        sub_batch_tokens: int = SUB_BATCH_TOKENS,
        packed: bool = True,
    ) -> None:
        self.role: Role = role_of(model)
        self.mean = is_mean(getattr(model, "config", None)) if mean is None else mean
        self.sub_batch_tokens = sub_batch_tokens
        self.packed = packed

    def parameters(self) -> list[nn.Parameter]:
        """What an optimizer may move, each once."""
        return self.role.parameters()

    def score(self, rollouts: Rollouts) -> Tensor:
        """[B, T] in at least float32, zero but at each row's last action; read at the last assistant token,
        or over all of them.

        The places come from ``action_mask``, so a pad that equals EOS cannot move them. Differentiable.
        """
        return self.score_and_logprobs(rollouts, None)[0]

    @torch.no_grad()
    def features(self, rollouts: Rollouts) -> Tensor:
        """[B, D] float32: what the head is applied to, so ``score`` is their product with it."""
        made = torch.zeros(len(rollouts), self.role.head.weight.shape[1])
        for part in self._parts(rollouts):
            made[part.members.cpu()] = self._over(part, self.role.states(part)).float().cpu()
        return made

    def _over(self, part: SubBatch, states: Tensor) -> Tensor:
        """[b, ...] of a sub-batch from its states [S, ...]: at the last tokens, or means over the answers."""
        if not self.mean:
            return states[part.ends]
        count = part.tokens.new_zeros(int(part.members.max()) + 1)
        count[part.members] = torch.arange(len(part.members), device=count.device)
        row = count[part.rows].to(states.device)
        read = states[part.after]
        sums = read.new_zeros(len(part.members), *read.shape[1:]).index_add(0, row, read)
        each = torch.bincount(row, minlength=len(part.members)).clamp(min=1).to(sums)
        return sums / each.view(-1, *[1] * (sums.dim() - 1))

    def score_and_logprobs(
        self, rollouts: Rollouts, head: nn.Linear | None, marked: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``score()``, and from the same forward the log-probabilities [B, T] of actions through the language
        model's ``head``, for the rows that ``marked`` [B] bool selects and zero elsewhere. An answer in
        several comparisons of the batch is computed once.
        """
        first, each = _different(rollouts)
        if len(first) == len(rollouts):
            return self._read(rollouts, head, marked)
        wanted = None
        if marked is not None:
            wanted = torch.zeros(len(first), dtype=torch.bool, device=each.device)
            wanted[each[marked]] = True
        scores, logprobs = self._read(take(rollouts, first), head, wanted)
        if marked is None:
            return scores[each], logprobs[each]
        return scores[each], logprobs[each] * marked[:, None]

    def _parts(self, rollouts: Rollouts) -> list[SubBatch]:
        longest = _longest(rollouts, [self.role], self.packed)
        return list(sub_batches(rollouts, self.role.device, self.sub_batch_tokens, longest=longest))

    def _read(
        self, rollouts: Rollouts, head: nn.Linear | None, marked: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        parts = self._parts(rollouts)
        scores, states, spoken = [], [], []
        for part in parts:
            hidden = self.role.states(part)
            scores.append(self.role.scalar(self._over(part, hidden)))
            if head is None or marked is None:
                continue
            wanted = marked.to(part.rows.device)[part.rows]
            spoken.append(replace(part, rows=part.rows[wanted], steps=part.steps[wanted]))
            states.append(hidden[part.places[wanted.to(part.places.device)]])
        logprobs = rollouts.actions.new_zeros(rollouts.actions.shape, dtype=torch.float32)
        if spoken:
            plain = Wants(entropy=False)
            assert head is not None  # spoken through it
            through = (head, self.role.transform)
            chosen = _chosen_logprobs(through, states, spoken, rollouts, plain, (None, [])).logprobs
            logprobs = _scatter(chosen, spoken, rollouts.actions)
        values = torch.cat(scores).to(rollouts.actions.device)
        rows, last = torch.cat([p.members for p in parts]), torch.cat([p.last for p in parts])
        return values.new_zeros(rollouts.actions.shape).index_put((rows, last), values), logprobs
