"""Splitting a batch, padding it or reordering it never changes an update."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from posttrain.core.batch import Rollouts, Wants
from posttrain.core.kl import KLExact, KLInLoss
from posttrain.core.preferences import ranked, wanted
from posttrain.direct_alignment.sft import SFT
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.policy_gradients.ppo import PPO
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.storage.token_rows import TokenRow
from posttrain.training.optimizer import Group, Optimizer
from posttrain.training.update import Part, update
from tests.models.small import gpt2, llama
from tests.models.small import rows as conversations

COUNT = 10
Builder = Callable[[dict[str, Any], Rollouts], Part]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a batch is laid out and cut."""

    order: tuple[int, ...] = tuple(range(COUNT))
    limit: int = 10**6  # steps in a micro-batch
    left: bool = False
    width: int | None = None


AS_IT_IS = Layout()
LAYOUTS = [
    Layout(limit=30),
    Layout(limit=55, order=(4, 5, 0, 9, 1, 8, 7, 2, 6, 3)),
    Layout(left=True),
    Layout(left=True, width=40, limit=90),
    Layout(width=33, limit=1),
    Layout(order=(9, 3, 1, 8, 0, 7, 2, 6, 4, 5), left=True, limit=77),
]


def rows() -> list[TokenRow]:
    """Pairs of uneven rows that were sampled and paid."""
    g = torch.Generator().manual_seed(3)
    made = []
    for index, row in enumerate(conversations(COUNT)):
        logprobs = (-3 - torch.rand(sum(row.mask), generator=g)).tolist()
        reward = float(torch.randn((), generator=g))
        made.append(replace(row, logprobs=logprobs, reward=reward, group=index // 2))
    return made


def models(config: PretrainedConfig, dtype: torch.dtype) -> dict[str, Any]:
    torch.manual_seed(0)
    policy = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    config = copy.deepcopy(config)
    config.num_labels = 1
    critic = AutoModelForSequenceClassification.from_config(config, dtype=dtype).eval()
    return {"policy": policy, "critic": critic}


@torch.no_grad()
def moved(policy: Any, seed: int) -> Any:
    """A copy a little away, so that ratios and KL are not where everything is zero."""
    other = copy.deepcopy(policy)
    g = torch.Generator().manual_seed(seed)
    for p in other.parameters():
        p += 0.02 * torch.randn(p.shape, generator=g, dtype=torch.float64).to(p)
    return other


def ppo(method: PPO) -> Builder:
    def build(live: dict[str, Any], facts: Rollouts) -> Part:
        old, reference = (LanguagePolicy(moved(live["policy"], k), live["critic"]) for k in (1, 2))
        policy = LanguagePolicy(live["policy"], live["critic"], sub_batch_tokens=64)
        with torch.no_grad():
            against = reference if method.wants.exact_kl else None
            before = old.evaluate(facts, method.wants, against)
            anchor = reference.evaluate(facts, Wants(entropy=False))
        past = method.credit(facts, before, anchor)
        return Part(past, lambda p: policy.evaluate(p.rollouts, method.wants, against), method.loss)

    return build


def sft(live: dict[str, Any], facts: Rollouts) -> Part:
    policy = LanguagePolicy(live["policy"], sub_batch_tokens=64)
    return Part(wanted(facts), lambda p: policy.evaluate(p.rollouts, SFT().wants), SFT().loss)


def bradley_terry(live: dict[str, Any], facts: Rollouts) -> Part:
    """Of two rows the one with the larger reward won."""
    model, method = LanguageReward(live["critic"], sub_batch_tokens=64), BradleyTerry()
    score = facts.rewards.sum(1)
    beaten = (score[:, None] < score[None, :]) & (facts.group[:, None] == facts.group[None, :])
    past = ranked(facts, beaten.sum(1))
    return Part(past, lambda p: model.score(p.rollouts), method.loss, whole_groups=True)


class Watched(Optimizer):
    """Remembers what had been accumulated, before clipping, at the first step."""

    seen: Tensor | None = None

    def step(self, evidence: dict[str, float] | None = None) -> dict[str, float]:
        if self.seen is None:
            parameters = [p for group in self.groups for p in group.parameters]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            self.seen = torch.cat([g.flatten() for g in grads]).clone()
        return super().step(evidence)


def weights_of(live: dict[str, Any]) -> Tensor:
    return torch.cat([p.detach().flatten() for model in live.values() for p in model.parameters()])


def run(
    build: Builder, config: PretrainedConfig, dtype: torch.dtype, layout: Layout
) -> tuple[Tensor, Tensor]:
    """One vector each: the accumulated gradient of the first update, and the weights after two."""
    live = models(config, dtype)
    facts = rollouts([rows()[i] for i in layout.order], pad_id=0, left=layout.left, width=layout.width)
    part = build(live, facts)
    optimizer = Watched(
        Group(name=name, parameters=list(model.parameters()), learning_rate=1e-3, clip_norm=0.5)
        for name, model in live.items()
    )
    for _ in range(2):
        update(optimizer, [part], layout.limit)
    assert optimizer.seen is not None
    return optimizer.seen, weights_of(live)


METHODS: dict[str, Builder] = {
    "ppo": ppo(PPO(entropy_coef=0.01, value_clip_range=0.2)),
    "ppo-kl-in-loss": ppo(PPO(kl=KLInLoss(coef=0.1))),
    "ppo-kl-exact": ppo(PPO(kl=KLExact(coef=0.1))),
    "sft": sft,
    "bradley-terry": bradley_terry,
}


def away(a: Tensor, b: Tensor) -> float:
    """The norm of the difference, relative."""
    return float((a - b).norm() / a.norm())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("config", [llama, gpt2])
@pytest.mark.parametrize("name", list(METHODS))
def test_layout_does_not_change_an_update(name: str, config: Any, dtype: torch.dtype) -> None:
    gradient, weights = run(METHODS[name], config(), dtype, AS_IT_IS)
    assert gradient.norm() > 1e-3
    assert away(weights_of(models(config(), dtype)), weights) > 1e-4
    for layout in LAYOUTS:
        other_gradient, other_weights = run(METHODS[name], config(), dtype, layout)
        assert away(gradient, other_gradient) <= (1e-10 if dtype == torch.float64 else 1e-5), layout
        if dtype == torch.float64:
            assert away(weights, other_weights) <= 1e-10, layout


def test_a_mean_taken_per_micro_batch_would_be_found() -> None:
    """A test of the test: every row averaged over its own tokens, then rows added up unevenly."""

    def careless(live: dict[str, Any], facts: Rollouts) -> Part:
        part = sft(live, facts)

        def forward(past: Any) -> Any:
            now = part.forward(past)
            share = len(facts) / len(past.rollouts)
            return replace(now, logprobs=now.logprobs * share)

        return replace(part, forward=forward)

    whole = run(careless, llama(), torch.float64, AS_IT_IS)[0]
    split = run(careless, llama(), torch.float64, Layout(limit=30))[0]
    assert away(whole, split) > 1e-3
