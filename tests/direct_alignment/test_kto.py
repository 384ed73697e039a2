from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Evaluation, PreferenceBatch, Wants
from posttrain.core.preferences import ranked
from posttrain.direct_alignment.kto import KTO
from posttrain.training.fit import FitState, fit
from posttrain.training.optimizer import Group, Optimizer
from tests.tiny import TinyPolicy, rollouts

TOKENS = torch.randint(0, 5, (12, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(6)[None, :] < torch.tensor([6, 3, 2, 5, 6, 1, 4, 4, 2, 6, 3, 5])[:, None]
RANK = torch.tensor([0, 1, -1, 0, -1, 1, 0, 1, 1, 0, -1, -1])


def batch(reference: TinyPolicy) -> PreferenceBatch:
    facts = rollouts(TOKENS, MASK)
    with torch.no_grad():
        thought = reference.evaluate(facts, Wants())
    return replace(ranked(facts, RANK, torch.ones(12, dtype=torch.float64)), reference=thought)


def test_the_baseline_is_the_mean_of_answers_to_other_prompts() -> None:
    past = batch(TinyPolicy(seed=1))
    with torch.no_grad():
        now = TinyPolicy(seed=2).evaluate(past.rollouts, Wants())
    assert past.reference is not None
    h = torch.where(MASK, now.logprobs - past.reference.logprobs, 0).sum(1)
    measured = KTO().measure(now, past)
    want = max(0.0, float(h[RANK < 0].mean()))
    assert measured.baseline is not None
    assert measured.baseline.tolist() == pytest.approx([want] * 12)
    other = Evaluation(logprobs=2 * past.reference.logprobs - now.logprobs)
    assert want == 0 or float(KTO().measure(other, past).baseline[0]) == 0  # type: ignore[index]


def test_without_such_answers_it_is_zero() -> None:
    past = batch(TinyPolicy(seed=1))
    alone = replace(past, rank=past.rank.clamp(min=0))
    now = TinyPolicy(seed=2).evaluate(past.rollouts, Wants())
    assert not KTO().measure(now, alone).baseline.any()  # type: ignore[union-attr]


def test_the_loss_refuses_to_go_on_without_a_baseline() -> None:
    past = batch(TinyPolicy(seed=1))
    with pytest.raises(ValueError, match="baseline"):
        KTO().loss(TinyPolicy().evaluate(past.rollouts, Wants()), past)


def test_it_learns_and_the_cut_does_not_matter() -> None:
    runs = []
    for limit in (1000, 7):
        policy = TinyPolicy(seed=2)
        optimizer = Optimizer(
            [Group(name="policy", parameters=policy.policy_parameters(), learning_rate=0.03)]
        )
        past, method = batch(TinyPolicy(seed=1)), KTO(beta=0.5)
        loop = fit(
            FitState(),
            lambda past, p=policy, m=method: p.evaluate(past.rollouts, m.wants),
            method,
            lambda step, past=past: past,
            optimizer,
            steps=30,
            micro_batch_tokens=limit,
        )
        runs.append(list(loop))
    for name in ("loss", "baseline", "reward_chosen", "reward_rejected", "accuracy"):
        whole, cut = ([row[name] for row in run] for run in runs)
        assert cut == pytest.approx(whole, rel=1e-8, abs=1e-12), name
    last = runs[0][-1]
    assert last["accuracy"] > 0.9
    assert last["reward_chosen"] > 0 > last["reward_rejected"]
    assert runs[0][0]["baseline"] > 0
