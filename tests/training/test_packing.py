"""Packed rows, prompts read once, give the gradients of plain padded ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Rollouts, Wants
from posttrain.core.kl import KLExact, KLInLoss
from posttrain.core.preferences import ranked, wanted
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.sft import SFT
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.models.lora import checkpoint_activations
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.storage.token_rows import TokenRow
from posttrain.training.optimizer import Group
from posttrain.training.update import Part, update
from tests.models.small import VOCABULARY, gpt2, llama
from tests.training.test_invariance import Watched, away, models, moved

PROMPTS, SIZE = 4, 4
Judge = Callable[[Rollouts], Any]


def groups() -> Rollouts:
    """Answers of uneven length to shared prompts; all prompts begin with the same 9 tokens, and two answers
    are the same."""
    g = torch.Generator().manual_seed(5)

    def drawn(low: int, high: int) -> list[int]:
        n = int(torch.randint(low, high, (1,), generator=g))
        return torch.randint(5, VOCABULARY, (n,), generator=g).tolist()

    system, rows = drawn(9, 10), []
    for prompt in range(PROMPTS):
        asked = [*system, *drawn(2, 12)]
        for index in range(SIZE):
            said = drawn(1, 14)
            if index == 3 and prompt == 1:
                said = list(rows[-1].ids[len(asked) :])
            logprobs = (-3 - torch.rand(len(said), generator=g)).tolist()
            reward = float(torch.randn((), generator=g))
            mask = [False] * len(asked) + [True] * len(said)
            rows.append(
                TokenRow(ids=[*asked, *said], mask=mask, logprobs=logprobs, reward=reward, group=prompt)
            )
    return rollouts(rows, pad_id=0)


def by_reward(facts: Rollouts, reference: Tensor | None = None) -> Any:
    """Of two answers to one prompt, that with the larger reward won."""
    score = facts.rewards.sum(1)
    beaten = (score[:, None] < score[None, :]) & (facts.group[:, None] == facts.group[None, :])
    past = ranked(facts, beaten.sum(1))
    if reference is None:
        return past
    return replace(past, reference=Evaluation(logprobs=reference))


def sampled(method: Any) -> Callable[..., Part]:
    def build(live: dict[str, Any], facts: Rollouts, **how: Any) -> Part:
        critic = live["critic"] if method.wants.values else None
        old, still = (LanguagePolicy(moved(live["policy"], k), critic, **how) for k in (1, 2))
        policy = LanguagePolicy(live["policy"], critic, **how)
        against = still if method.wants.exact_kl else None
        with torch.no_grad():
            before = old.evaluate(facts, method.wants, against)
            anchor = still.evaluate(facts, Wants(entropy=False))
        past = method.credit(facts, before, anchor)
        return Part(past, lambda p: policy.evaluate(p.rollouts, method.wants, against), method.loss)

    return build


def sft(live: dict[str, Any], facts: Rollouts, **how: Any) -> Part:
    policy = LanguagePolicy(live["policy"], **how)
    return Part(wanted(facts), lambda p: policy.evaluate(p.rollouts, SFT().wants), SFT().loss)


def dpo(live: dict[str, Any], facts: Rollouts, **how: Any) -> Part:
    policy, still = LanguagePolicy(live["policy"], **how), LanguagePolicy(moved(live["policy"], 2), **how)
    with torch.no_grad():
        reference = still.evaluate(facts, Wants(entropy=False)).logprobs
    past, method = by_reward(facts, reference), DPO()
    return Part(past, lambda p: policy.evaluate(p.rollouts, method.wants), method.loss, whole_groups=True)


def bradley_terry(live: dict[str, Any], facts: Rollouts, **how: Any) -> Part:
    model, method = LanguageReward(live["critic"], **how), BradleyTerry()
    return Part(by_reward(facts), lambda p: model.score(p.rollouts), method.loss, whole_groups=True)


METHODS: dict[str, Callable[..., Part]] = {
    "ppo": sampled(PPO(entropy_coef=0.01, value_clip_range=0.2)),
    "ppo-kl-exact": sampled(PPO(kl=KLExact(coef=0.1))),
    "grpo": sampled(GRPO(kl=KLInLoss(coef=0.1))),
    "sft": sft,
    "dpo": dpo,
    "bradley-terry": bradley_terry,
}


def gradient(name: str, config: Any, dtype: torch.dtype, limit: int = 10**6, **how: Any) -> Tensor:
    recompute = how.pop("recompute", False)
    live = models(config(), dtype)
    if recompute:
        for model in live.values():
            checkpoint_activations(model)
    optimizer = Watched(
        Group(name=role, parameters=list(model.parameters()), learning_rate=1e-3)
        for role, model in live.items()
    )
    update(optimizer, [METHODS[name](live, groups(), **how)], limit)
    assert optimizer.seen is not None
    return optimizer.seen


def norm(self: Any, hidden: Tensor) -> Tensor:
    """Llama's, in the type of the model. Transformers' own computes in float32, where the gradient of a
    prompt read once and the sum of the gradients of its copies round differently.
    """
    return self.weight * hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self.variance_epsilon)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("config", [llama, gpt2])
@pytest.mark.parametrize("name", list(METHODS))
def test_packed_gradients_are_the_padded_ones(
    name: str, config: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if dtype == torch.float64:
        monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaRMSNorm.forward", norm)
    padded = gradient(name, config, dtype, packed=False)
    assert padded.norm() > 1e-3
    near = 1e-12 if dtype == torch.float64 else 1e-5
    for how in ({}, {"sub_batch_tokens": 50}, {"limit": 90}, {"recompute": True}):
        packed = gradient(name, config, dtype, **how)
        assert 0 < away(padded, packed) <= near, how


def test_a_prompt_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    live, facts = models(llama(), torch.float32), groups()
    read = []
    trunk = live["policy"].base_model
    packed, padded = (LanguagePolicy(live["policy"], packed=how) for how in (True, False))
    packed.evaluate(facts, Wants())  # finds out that it packs
    forward = trunk.forward
    monkeypatch.setattr(
        trunk, "forward", lambda *a, **k: read.append(k["input_ids"].numel()) or forward(*a, **k)
    )
    for policy in (packed, padded):
        policy.evaluate(facts, Wants())
        read.append(0)
    lengths = facts.context["attention_mask"].sum(1)
    place = facts.action_mask.long().argmax(1)
    prompts = {tuple(row[: at + 1].tolist()) for row, at in zip(facts.context["tokens"], place)}
    beginnings = {prompt[: i + 1] for prompt in prompts for i in range(len(prompt))}
    answers = {
        tuple(row[: i + 1].tolist())
        for row, at, n in zip(facts.context["tokens"], place, lengths)
        for i in range(int(at) + 1, int(n))
    }
    first = read.index(0)
    assert sum(read[:first]) == len(beginnings | answers)
    assert sum(read[first:]) >= int(lengths.sum()) > 1.5 * sum(read[:first])
