"""A transformer as a Policy and as a RewardModel: no padding computed inside, ``[B, T]`` outside.

Rows are compacted to their real tokens, sorted by length and cut into sub-batches padded on the right,
where causal attention needs no mask. Logits exist only at the positions of actions, a chunk at a time
(``core.logprobs``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from posttrain.core.batch import Evaluation, Policy, Rollouts, Wants, take
from posttrain.core.logprobs import chosen_logprobs
from posttrain.models.role import Role, role_of

SUB_BATCH_TOKENS = 2048  # measured: larger ones leave the processor's cache, smaller ones cost calls


@dataclass(frozen=True)
class _SubBatch:
    """Some rows, compacted and padded on the right to the longest of them."""

    tokens: Tensor  # [b, L]
    rows: Tensor  # [n] row of the rollouts, for each action in the sub-batch
    steps: Tensor  # [n] step of the rollouts
    places: Tensor  # [n] index into [b * L] of the state in which the step was chosen
    ends: Tensor  # [b] index into [b * L] of the last assistant token of each row
    members: Tensor  # [b] the row of the rollouts
    last: Tensor  # [b] the step of the last action


def _cut(lengths: list[int], most: int) -> Iterator[list[int]]:
    """Rows in order of length, cut where a sub-batch would exceed ``most`` tokens or pad more than an
    eighth.
    """
    part: list[int] = []
    real = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        size = (len(part) + 1) * lengths[row]
        if part and (size > most or (size > 512 and size - real - lengths[row] > size // 8)):
            yield part
            part, real = [], 0
        part.append(row)
        real += lengths[row]
    yield part


def _sub_batches(rollouts: Rollouts, device: torch.device, most: int) -> Iterator[_SubBatch]:
    tokens, real = rollouts.context["tokens"], rollouts.context["attention_mask"].bool()
    mask = rollouts.action_mask
    place = real.long().cumsum(1) - 1  # [B, T+1] index of a token among the real ones of its row
    lengths = real.sum(1)
    step = torch.arange(mask.shape[1], device=mask.device)
    last_step = torch.where(mask, step, -1).amax(1)  # [B]
    for part in _cut(lengths.tolist(), most):
        members = torch.tensor(part, device=tokens.device)
        L = int(lengths[members[-1]])
        inside = real[members]
        compact = tokens.new_zeros(len(part), L)
        compact[torch.arange(L, device=tokens.device) < lengths[members, None]] = tokens[members][inside]
        row, steps = mask[members].nonzero(as_tuple=True)
        offset = torch.arange(len(part), device=tokens.device) * L
        last = last_step[members]
        yield _SubBatch(
            tokens=compact.to(device),
            rows=members[row],
            steps=steps,
            places=(offset[row] + place[members[row], steps]).to(device),
            ends=(offset + place[members, last + 1].clamp(min=0)).to(device),
            members=members,
            last=last,
        )


def _different(rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    """[U] the first of each kind of row, [B] which kind each row is: alike are same tokens at same places."""
    tokens, real = rollouts.context["tokens"], rollouts.context["attention_mask"].bool()
    kind = torch.cat([torch.where(real, tokens, -1), rollouts.action_mask.long()], 1)
    if len(rollouts.temperature.unique()) > 1:
        kind = torch.cat([kind, torch.arange(len(kind), device=kind.device)[:, None]], 1)
    kinds, each = torch.unique(kind, dim=0, return_inverse=True)
    place = torch.arange(len(kind), device=kind.device)
    first = place.new_full((len(kinds),), len(kind)).scatter_reduce(0, each, place, "amin")
    order = first.argsort()
    return first[order], order.argsort()[each]


def _scatter(pieces: list[Tensor], parts: list[_SubBatch], like: Tensor) -> Tensor:
    """[n] pieces back to [B, T], zero elsewhere."""
    rows, steps = torch.cat([p.rows for p in parts]), torch.cat([p.steps for p in parts])
    values = torch.cat(pieces).to(like.device)
    return values.new_zeros(like.shape).index_put((rows, steps), values)


class LanguagePolicy:
    """The ``Policy`` of a causal language model, with a critic if there is one.

    ``policy`` and ``critic`` are transformers models (a critic has one label) or roles on a shared trunk.
    The critic may share the policy's trunk and adapter; one forward then serves both.
    """

    def __init__(self, policy: Any, critic: Any = None, *, sub_batch_tokens: int = SUB_BATCH_TOKENS) -> None:
        self.policy: Role = role_of(policy)
        self.critic: Role | None = None if critic is None else role_of(critic)
        self.sub_batch_tokens = sub_batch_tokens

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
        ValueError where a critic is wanted and there is none.
        """
        if wants.values and self.critic is None:
            raise ValueError("values are wanted but this policy has no critic")
        if against is not None and not isinstance(against, LanguagePolicy):
            raise ValueError("exact KL needs a language policy to compare with")
        critic = self.critic if wants.values else None
        parts: list[_SubBatch] = []
        said: dict[str, list[Tensor]] = {name: [] for name in ("logprobs", "entropy", "values", "end", "kl")}
        for part in _sub_batches(rollouts, self.policy.head.weight.device, self.sub_batch_tokens):
            parts.append(part)
            hidden = self.policy.hidden(part.tokens).flatten(0, 1)
            self._speak(said, part, hidden, rollouts, wants, against)
            if critic is not None:
                seen = hidden if critic.same_way(self.policy) else critic.hidden(part.tokens).flatten(0, 1)
                said["values"].append(critic.scalar(seen[part.places]))
                said["end"].append(critic.scalar(seen[part.ends]))
        like = rollouts.actions
        bootstrap = None
        if critic is not None:
            order = torch.cat([part.members for part in parts])
            ends = torch.cat(said["end"]).to(like.device)
            bootstrap = ends.new_zeros(len(rollouts)).index_put((order,), ends)
        return Evaluation(
            logprobs=_scatter(said["logprobs"], parts, like),
            entropy=_scatter(said["entropy"], parts, like) if said["entropy"] else None,
            values=_scatter(said["values"], parts, like) if critic is not None else None,
            bootstrap=bootstrap,
            kl=_scatter(said["kl"], parts, like) if said["kl"] else None,
        )

    def _speak(
        self,
        said: dict[str, list[Tensor]],
        part: _SubBatch,
        hidden: Tensor,
        rollouts: Rollouts,
        wants: Wants,
        against: LanguagePolicy | None,
    ) -> None:
        head, device = self.policy.head, hidden.device
        other = None
        if against is not None and wants.exact_kl:
            with torch.no_grad():
                seen = against.policy.hidden(part.tokens.to(against.policy.head.weight.device))
            states = seen.flatten(0, 1)[part.places].to(device)
            other = (states, against.policy.head.weight.to(device), against.policy.head.bias)
        scored = chosen_logprobs(
            hidden[part.places],
            head.weight,
            rollouts.actions[part.rows, part.steps].to(device),
            temperature=rollouts.temperature[part.rows].to(device),
            bias=head.bias,
            against=other,
            entropy=wants.entropy,
            entropy_gradient=wants.entropy_gradient,
        )
        said["logprobs"].append(scored.logprobs)
        if scored.entropy is not None:
            said["entropy"].append(scored.entropy)
        if scored.kl is not None:
            said["kl"].append(scored.kl)


class LanguageReward:
    """The ``RewardModel`` of a transformer with one label, or of such a role on a shared trunk."""

    def __init__(self, model: Any, *, sub_batch_tokens: int = SUB_BATCH_TOKENS) -> None:
        self.role: Role = role_of(model)
        self.sub_batch_tokens = sub_batch_tokens

    def parameters(self) -> list[nn.Parameter]:
        """What an optimizer may move, each once."""
        return self.role.parameters()

    def score(self, rollouts: Rollouts) -> Tensor:
        """[B, T] in at least float32, zero but at each row's last action; read at the last assistant token.

        The place comes from ``action_mask``, so a pad that equals EOS cannot move it. Differentiable.
        """
        return self.score_and_say(rollouts, None)[0]

    def score_and_say(
        self, rollouts: Rollouts, words: Any, said: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``score()``, and from the same forward the log-probabilities [B, T] of actions through the head
        ``words``: of the rows that ``said`` [B] bool marks, zero elsewhere. An answer that is in several
        comparisons of the batch is read once.
        """
        first, each = _different(rollouts)
        if len(first) == len(rollouts):
            return self._read(rollouts, words, said)
        wanted = None
        if said is not None:
            wanted = torch.zeros(len(first), dtype=torch.bool, device=each.device)
            wanted[each[said]] = True
        scores, logprobs = self._read(take(rollouts, first), words, wanted)
        if said is None:
            return scores[each], logprobs[each]
        return scores[each], logprobs[each] * said[:, None]

    def _read(self, rollouts: Rollouts, words: Any, said: Tensor | None) -> tuple[Tensor, Tensor]:
        parts = list(_sub_batches(rollouts, self.role.head.weight.device, self.sub_batch_tokens))
        scores, logprobs = [], rollouts.actions.new_zeros(rollouts.actions.shape, dtype=torch.float32)
        for part in parts:
            hidden = self.role.hidden(part.tokens).flatten(0, 1)
            scores.append(self.role.scalar(hidden[part.ends]))
            if words is None or said is None:
                continue
            wanted = said.to(part.rows.device)[part.rows]
            rows, steps = part.rows[wanted], part.steps[wanted]
            chosen = chosen_logprobs(
                hidden[part.places[wanted.to(part.places.device)]],
                words.weight,
                rollouts.actions[rows, steps].to(hidden.device),
                temperature=rollouts.temperature[rows].to(hidden.device),
                bias=getattr(words, "bias", None),
                entropy=False,
            ).logprobs.to(rollouts.actions.device)
            logprobs = logprobs.to(chosen.dtype).index_put((rows, steps), chosen)
        values = torch.cat(scores).to(rollouts.actions.device)
        rows, last = torch.cat([p.members for p in parts]), torch.cat([p.last for p in parts])
        return values.new_zeros(rollouts.actions.shape).index_put((rows, last), values), logprobs
