"""Who thinks what: policy, reference, critic and reward model, as models of their own or on one trunk.

Without ``lora`` every role is a model of its own and all its weights move. With it the trunk stands still
and each role is an adapter and a head: the reference is the trunk with nothing on, the critic another
adapter with a head of one label. Which role a forward plays is part of the forward (``Role``), so several
roles may meet in one graph.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from posttrain.metrics import Metric
from posttrain.models.adapter_files import load_adapter, save_adapter
from posttrain.models.cutting import cut
from posttrain.models.frozen import reads_in
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.models.loading import (
    load_causal_lm,
    load_reward_model,
    new_head,
    save_causal_lm,
    scalar_model,
)
from posttrain.models.lora import Adapter, Lora, merged
from posttrain.models.placement import ModelPlacement, held, loads_to, rounding_metrics
from posttrain.models.prepare import prepare
from posttrain.models.reading import Reading, mark
from posttrain.models.role import Role, frozen_role_of, role_of
from posttrain.models.scalar_files import (
    Source,
    as_it_was,
    cut_as,
    head_of,
    is_scalar,
    reading_of,
    save_scalar,
    shares,
)
from posttrain.pipeline.finding import UserError


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyRoles:
    """A policy that learns, and those that stand around it.

    ``model`` is the transformers model that carries the policy, ``policy`` evaluates it (with the critic
    if there is one), ``reference`` is what it was when it was opened and never moves.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    policy: LanguagePolicy
    reference: LanguagePolicy | None = None
    critic_model: PreTrainedModel | None = None  # the transformers model whose trunk the critic goes through
    rounding: float | None = None  # what a trunk held in fewer bits lost, relative to its size

    @property
    def metrics(self) -> dict[str, Metric]:
        """What a report says of them."""
        return rounding_metrics(self.rounding)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The policy's weights as the plain model names them, adapter folded in: what an engine loads."""
        return merged(self.model, self.policy.policy.adapter)

    def save(self, directory: Source) -> None:
        """Writes the policy as a plain model, its adapter in ``adapter/`` and its critic, like a reward
        model, in ``critic/``.
        """
        adapter, plain = self.policy.policy.adapter, as_it_was(self.model)
        weights = {name: tensor.cpu() for name, tensor in merged(plain, adapter)} if adapter else None
        save_causal_lm(directory, plain, self.tokenizer, weights=weights)
        if adapter is not None:
            save_adapter(Path(directory) / "adapter", self.model, adapter, plain=plain)
        if self.policy.critic is not None:
            assert self.critic_model is not None  # it carries the critic
            mark(self.critic_model.config, mean=False)  # a value is read at each step
            save_scalar(Path(directory) / "critic", self.policy.critic, self.critic_model, self.tokenizer)


@dataclass(frozen=True, eq=False, kw_only=True)
class RewardRole:
    """A reward model that learns, or that only scores."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reward: LanguageReward
    rounding: float | None = None

    @property
    def metrics(self) -> dict[str, Metric]:
        return rounding_metrics(self.rounding)

    def save(self, directory: Source) -> None:
        """A plain model with one label; its adapter, with the head, in ``adapter/`` if it has one. Where it
        scores a mean, its config and a README.md beside it say so.
        """
        mark(self.model.config, self.reward.mean)
        save_scalar(Path(directory), self.reward.role, self.model, self.tokenizer)


def open_policy(
    source: Source,
    *,
    lora: Lora | None = None,
    critic: Source | None = None,
    reference: bool = False,
    seed: int = 0,
    placement: ModelPlacement | None = None,
) -> PolicyRoles:
    """The roles of instruction tuning (a policy) or reinforcement learning (also a reference and a critic).

    ``critic`` is the model that the critic starts from: a reward model, or a language model with a new head.
    With ``lora`` it shares the policy's trunk where it has the same weights, or is a reward model whose
    adapter was trained on them. Raises UserError for what ``load_causal_lm`` refuses, and for a critic with
    another vocabulary.
    """
    placement = placement or ModelPlacement()
    model, tokenizer = load_causal_lm(source, dtype=placement.dtype, device=loads_to(lora, placement))
    rounding = held(model, lora, placement, lambda: load_causal_lm(source, dtype=placement.dtype)[0])
    still = None
    if reference and lora is None:
        still = LanguagePolicy(frozen_role_of(prepare(copy.deepcopy(model)), placement.matmul_dtype))
    prepare(model, adapters=lora is not None, recompute=placement.recompute)
    if lora is not None:
        model.requires_grad_(False)
        policy = Role(
            model.base_model,
            model.get_output_embeddings(),
            Adapter(model.base_model, lora, seed=seed),
            placement.matmul_dtype,
        )
        if reference:
            still = LanguagePolicy(replace(policy, adapter=None))
    else:
        policy = role_of(model, placement.matmul_dtype)
    around = None
    critic_model = None
    if critic is not None:
        around, critic_model = _critic(critic, source, model, lora, seed + 1, placement)
    return PolicyRoles(
        model=model,
        tokenizer=tokenizer,
        policy=LanguagePolicy(policy, around),
        reference=still,
        critic_model=critic_model,
        rounding=rounding,
    )


def open_teacher(
    source: Source, tokenizer: PreTrainedTokenizerBase, placement: ModelPlacement | None = None
) -> LanguagePolicy:
    """A model that only evaluates another one's tokens.

    Raises UserError where its vocabulary is not that of ``tokenizer``.
    """
    placement = placement or ModelPlacement()
    model, other = load_causal_lm(source, dtype=placement.dtype, device=placement.device)
    if other.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"{source}: its vocabulary ({len(other)} tokens) is not the student's ({len(tokenizer)} tokens), "
            "so it cannot judge the student's tokens; take a teacher of the same family"
        )
    return LanguagePolicy(frozen_role_of(prepare(model), placement.matmul_dtype))


def open_reward(
    source: Source,
    *,
    lora: Lora | None = None,
    seed: int = 0,
    placement: ModelPlacement | None = None,
    reading: Reading | None = None,
) -> RewardRole:
    """A reward model to train: from a language model, with a new head and read where ``reading`` says, or
    one to train further, read where it was.

    Raises UserError for what the loaders refuse, and for a reading other than that of a reward model.
    """
    placement, reading = placement or ModelPlacement(), reading or Reading()
    if is_scalar(source):
        reading = reading_of(source, reading)
    if lora is None:
        model, tokenizer = _scalar(source, seed, placement, reading.layer)
        prepare(model, recompute=placement.recompute)
        reward = LanguageReward(role_of(model, placement.matmul_dtype), mean=reading.mean)
        return RewardRole(model=model, tokenizer=tokenizer, reward=reward)
    load = load_reward_model if is_scalar(source) else load_causal_lm
    model, tokenizer = load(source, dtype=placement.dtype, device=loads_to(lora, placement))
    model = model if is_scalar(source) else cut(model, reading.layer)
    rounding = held(model, lora, placement, lambda: load(source, dtype=placement.dtype)[0])
    head = cast(nn.Linear, model.score) if is_scalar(source) else new_head(model, seed=seed)
    role = _adapted(model, head, lora, seed, placement)
    return RewardRole(
        model=model,
        tokenizer=tokenizer,
        reward=LanguageReward(role, mean=reading.mean),
        rounding=rounding,
    )


def lm_head_for(reward: RewardRole, source: Source) -> nn.Linear:
    """The head [V, D] with which a reward model's trunk is a language model, as ``source``, its origin, was.

    It is the embeddings where the two are tied, else the frozen head of ``source``. Raises UserError where
    ``source`` is no language model.
    """
    trunk = reward.reward.role.trunk
    if reward.reward.role.adapter is not None and reward.model.get_output_embeddings() is not None:
        return cast(nn.Linear, reward.model.get_output_embeddings())
    if is_scalar(source):
        raise UserError(f"{source} is a reward model: it has no words whose likelihood could be kept")
    grown, _ = load_causal_lm(source, dtype=reads_in(reward.model), device=str(reward.model.device))
    head = cast(nn.Linear, grown.get_output_embeddings()).requires_grad_(False)
    if head.weight is cast(nn.Embedding, grown.get_input_embeddings()).weight:
        head.weight = cast(nn.Embedding, cast(PreTrainedModel, trunk).get_input_embeddings()).weight
    return head


def _critic(
    critic: Source,
    source: Source,
    model: PreTrainedModel,
    lora: Lora | None,
    seed: int,
    placement: ModelPlacement,
) -> tuple[Role, PreTrainedModel]:
    """The critic's role, and the model of its trunk. A critic that starts from a reward model is read
    after the same layer, at every step; where that one scores a mean, a step's value is at first its share
    of the mean.
    """
    if lora is None:
        critic_model, _ = _scalar(critic, seed, placement)
        prepare(critic_model, recompute=placement.recompute)
        return role_of(critic_model, placement.matmul_dtype), critic_model
    model = cut_as(critic, model)
    if shares(critic, model):
        adapter, head = load_adapter(Path(critic) / "adapter", model)
        if head is not None:
            return Role(model.base_model, head_of(head, model), adapter, placement.matmul_dtype), model
    if not is_scalar(critic) and str(critic) == str(source):
        adapter = Adapter(model.base_model, lora, seed=seed)
        return Role(model.base_model, new_head(model, seed=seed), adapter, placement.matmul_dtype), model
    critic_model, _ = _scalar(critic, seed, replace(placement, device=loads_to(lora, placement)))
    held(critic_model, lora, placement, lambda: _scalar(critic, seed, replace(placement, device="cpu"))[0])
    return _adapted(critic_model, cast(nn.Linear, critic_model.score), lora, seed, placement), critic_model


def _adapted(
    model: PreTrainedModel, head: nn.Linear, lora: Lora, seed: int, placement: ModelPlacement
) -> Role:
    """A role with a new adapter on a frozen trunk."""
    model.requires_grad_(False)
    head.requires_grad_(True)
    prepare(model, adapters=True, recompute=placement.recompute)
    return Role(model.base_model, head, Adapter(model.base_model, lora, seed=seed), placement.matmul_dtype)


def _scalar(
    source: Source, seed: int, placement: ModelPlacement, layers: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model with one label: loaded if it is one, else a language model's trunk, cut after ``layers``,
    with a new head.
    """
    if is_scalar(source):
        model, tokenizer = load_reward_model(source, dtype=placement.dtype, device=placement.device)
    else:
        base, tokenizer = load_causal_lm(source, dtype=placement.dtype, device=placement.device)
        model = scalar_model(cut(base, layers), tokenizer, seed=seed)
    return model, tokenizer
