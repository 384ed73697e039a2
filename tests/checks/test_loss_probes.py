"""What every policy gradient's loss says to a look at it: nothing where it is right, and its name where the
KL is turned or a mean is that of a micro-batch.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from posttrain import policy_gradients
from posttrain.checks import model_probes
from posttrain.checks.loss_probes import adds_up, holds_back
from posttrain.core.batch import Evaluation, Rollouts, Term
from posttrain.core.kl import KLExact, KLInLoss, KLInReward, k1, k2, k3
from posttrain.core.reduction import row_total, token_mean
from posttrain.models.collate import rollouts
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.storage.token_rows import TokenRow
from posttrain.training.update import Part

KLS = {
    "in the reward, k1": KLInReward(estimator=k1),
    "in the reward, k2": KLInReward(estimator=k2),
    "in the reward, k3": KLInReward(estimator=k3),
    "sharpened": KLInReward(power=3.0),
    "in the loss, k1": KLInLoss(estimator=k1),
    "in the loss, k2": KLInLoss(estimator=k2),
    "in the loss, k3": KLInLoss(estimator=k3),
    "exact": KLExact(),
}


def methods() -> list[Any]:
    found = []
    for item in pkgutil.iter_modules(policy_gradients.__path__):
        module = importlib.import_module(f"{policy_gradients.__name__}.{item.name}")
        kinds = [one for one in vars(module).values() if isinstance(one, type) and is_dataclass(one)]
        found += [one() for one in kinds if one.__module__ == module.__name__ and hasattr(one, "credit")]
    return found


METHODS = {type(one).__name__: one for one in methods()}
CHARGED = {
    f"{name}, {how}": replace(method, kl=kl)
    for name, method in METHODS.items()
    for how, kl in KLS.items()
    if "kl" in {item.name for item in fields(method)}
}


class Bigram:
    """Log-probabilities, values and entropy of a table [V, V] of logits, at once for any rollouts."""

    def __init__(self, seed: int) -> None:
        self.table = torch.randn(9, 9, generator=torch.Generator().manual_seed(seed))

    def evaluate(self, some: Rollouts, wants: Any, against: Any = None) -> Evaluation:
        own = self.table[some.context["tokens"][:, :-1]].log_softmax(-1)
        kl = None
        if against is not None:
            other = against.table[some.context["tokens"][:, :-1]].log_softmax(-1)
            kl = (own.exp() * (own - other)).sum(-1)
        return Evaluation(
            logprobs=own.gather(-1, some.actions[..., None])[..., 0],
            entropy=-(own.exp() * own).sum(-1),
            values=own[..., 0] if wants.values else None,
            bootstrap=own[:, -1, 1] if wants.values else None,
            kl=kl,
        )


def answers(policy: Bigram) -> list[TokenRow]:
    """Three prompts with two answers of six tokens each."""
    found = []
    for place in range(6):
        ids = [place // 2, 3, *((place * 5 + step * step) % 9 for step in range(6))]
        row = TokenRow(ids=ids, mask=[False] * 2 + [True] * 6, group=place // 2, version=0)
        found.append(replace(row, logprobs=[-2.0] * 6))
    past = rollouts(found, 0)
    said = policy.evaluate(past, SimpleNamespace(values=False)).logprobs
    return [
        replace(row, logprobs=own[mask].tolist())
        for row, own, mask in zip(found, said, past.action_mask, strict=True)
    ]


def looked(method: Any) -> list[Any]:
    policy = Bigram(0)
    past = rollouts(model_probes._uneven(answers(policy)), 0)
    with torch.no_grad():
        return model_probes._of_method(method, past, policy, Bigram(1), "float32")


@pytest.mark.parametrize("name", [*METHODS, *CHARGED])
def test_every_method_passes_with_every_kl(name: str) -> None:
    found = looked((METHODS | CHARGED)[name])
    assert [one.evidence for one in found if not one.passed] == []
    assert math.isfinite(float(found[0].value))


def test_all_methods_are_looked_at() -> None:
    assert {"PPO", "GRPO", "DAPO", "RLOO", "NashMD", "OnlineDPO", "OnPolicyDistillation"} <= METHODS.keys()
    assert len(METHODS) >= 17


class Turned:
    """A KL that pays for going away."""

    def __init__(self, kl: Any) -> None:
        self.kl, self.coef, self.exact = kl, kl.coef, kl.exact

    def charge(self, rewards: Any, before: Any, reference: Any, mask: Any) -> Any:
        return 2 * rewards * mask - self.kl.charge(rewards, before, reference, mask)

    def terms(self, *given: Any) -> dict[str, Term]:
        return {name: replace(term, coef=-term.coef) for name, term in self.kl.terms(*given).items()}


@pytest.mark.parametrize("name", [name for name in CHARGED if not name.endswith("in the loss, k1")])
def test_a_turned_kl_is_named_in_every_method(name: str) -> None:
    right = CHARGED[name]
    failed = [one for one in looked(replace(right, kl=Turned(right.kl))) if not one.passed]
    assert [one.name for one in failed] == ["kl_holds_back"]
    assert failed[0].evidence
    assert failed[0].advice
    assert float(failed[0].value) < 0


class OwnMean(GRPO):
    """Its policy loss is a mean over the rows that it is given."""

    def loss(self, now: Evaluation, past: Any) -> dict[str, Term]:
        terms = super().loss(now, past)
        term = terms["policy_loss"]
        share = term.values / past.rollouts.action_mask.sum()
        return {**terms, "policy_loss": replace(term, values=share, reduction=row_total)}


def test_a_method_that_divides_by_its_own_tokens_is_named() -> None:
    assert [one.name for one in looked(OwnMean()) if not one.passed] == ["micro_batches_add_up"]


def test_means_of_means_are_named_though_each_is_a_mean() -> None:
    """Of rows of unequal length: what takes the mean of its rows' means is no mean over tokens."""
    policy = Bigram(0)
    past = rollouts(model_probes._uneven(answers(policy)), 0)
    experience = PPO().credit(past, policy.evaluate(past, PPO().wants), Bigram(1).evaluate(past, PPO().wants))

    def loss(now: Evaluation, some: Any) -> dict[str, Term]:
        mask = some.rollouts.action_mask
        each = (now.logprobs * mask).sum() / mask.sum() * mask / mask.sum() * len(mask)
        return {"nll": Term(each, lambda whole: whole.rollouts.action_mask / len(whole.rollouts))}

    part = Part(experience, lambda some: policy.evaluate(some.rollouts, PPO().wants), loss)
    assert not adds_up(part).passed
    right = replace(part, loss=lambda now, some: {"nll": Term(now.logprobs, token_mean)})
    assert adds_up(right).passed


def test_a_method_without_a_charge_is_not_asked() -> None:
    nothing: Any = None
    assert holds_back(SimpleNamespace(), nothing, nothing).passed
    assert holds_back(SimpleNamespace(kl=KLInLoss(coef=0.0)), nothing, nothing).passed


def test_a_forward_that_rounds_otherwise_in_other_company_is_no_fault_of_the_loss() -> None:
    """As bfloat16 does: the loss squares what a row adds up to, so that small differences grow."""
    policy = Bigram(0)
    past = rollouts(model_probes._uneven(answers(policy)), 0)
    experience = PPO().credit(past, policy.evaluate(past, PPO().wants), Bigram(1).evaluate(past, PPO().wants))
    calls: list[int] = []

    def forward(some: Any) -> Evaluation:
        calls.append(1)
        now = policy.evaluate(some.rollouts, PPO().wants)
        return replace(now, logprobs=now.logprobs + 0.1 * len(calls))

    def loss(now: Evaluation, some: Any) -> dict[str, Term]:
        mask = some.rollouts.action_mask
        return {"square": Term((now.logprobs * mask).sum(1, keepdim=True).square() * mask, token_mean)}

    assert adds_up(Part(experience, forward, loss)).passed
    assert len(calls) == 1
