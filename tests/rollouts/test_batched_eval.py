"""Rows that are read a micro-batch at a time give the bits of one batch, in slices, and no more are held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForSequenceClassification

from posttrain.core.batch import Rollouts, Wants, take
from posttrain.core.masked import masked_mean
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.rollouts.batched_eval import logprobs, micro_batches, nll
from posttrain.rollouts.encode import scores
from posttrain.storage.token_rows import TokenRow
from posttrain.training.in_slices import in_slices
from posttrain.training.update import cut

LIMIT = 60


def drawn(groups: bool) -> list[TokenRow]:
    g = torch.Generator().manual_seed(0)
    rows = []
    for i in range(24):
        prompt, answer = 3 + i % 5, 1 + (7 * i) % 17
        ids = torch.randint(5, 60, (prompt + answer + i % 2,), generator=g).tolist()
        mask = [False] * prompt + [True] * answer + [False] * (i % 2)
        rows.append(TokenRow(ids=ids, mask=mask, group=i // 3 if groups else -1))
    return rows


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("limit", [1, LIMIT, 10**6])
def test_the_parts_are_the_slices_of_the_whole(groups: bool, limit: int) -> None:
    rows = drawn(groups)
    whole = rollouts(rows, 0)
    parts, slices = list(micro_batches(rows, 0, limit)), cut(whole, limit)
    assert (len(parts) == 1) == (limit == 10**6)
    for part, place in zip(parts, slices, strict=True):
        of_whole = take(whole, place)
        steps = part.actions.shape[1]
        assert torch.equal(part.actions, of_whole.actions[:, :steps])
        assert torch.equal(part.action_mask, of_whole.action_mask[:, :steps])
    assert list(micro_batches([], 0, limit)) == []


def test_what_a_policy_says_has_the_bits_of_one_batch(small_llama: Any, tmp_path: Path) -> None:
    rows, policy = drawn(False), LanguagePolicy(small_llama)
    batch, forward = rollouts(rows, 0), lambda part: policy.evaluate(part, Wants(entropy=False))
    whole = in_slices(forward, batch, cut(batch, LIMIT)).logprobs
    kept = logprobs(policy, rows, 0, LIMIT, tmp_path)
    assert len(kept) == len(rows)
    for row, own, mask in zip(kept, whole, batch.action_mask, strict=True):
        assert torch.equal(row, own[mask])
    mean = -float(masked_mean(whole, batch.action_mask))
    assert nll(policy, rows, 0, LIMIT) == pytest.approx(mean, rel=1e-14)
    assert nll(policy, rows[:1], 0, LIMIT) != pytest.approx(mean, rel=1e-3)
    assert nll(policy, [], 0, LIMIT) != nll(policy, [], 0, LIMIT)  # NaN


class Counting:
    """A reward model that says how many rows it was given at a time."""

    def __init__(self, reward: LanguageReward) -> None:
        self.reward, self.given = reward, list[int]()

    def score(self, facts: Rollouts) -> Tensor:
        self.given.append(len(facts))
        return self.reward.score(facts)


@pytest.fixture
def counting(small_llama: Any) -> Counting:
    torch.manual_seed(1)
    config = small_llama.config.__class__(**{**small_llama.config.to_dict(), "num_labels": 1})
    return Counting(LanguageReward(LlamaForSequenceClassification(config).eval()))


def test_an_answer_that_comes_again_is_scored_once_and_alike(counting: Counting) -> None:
    rows = drawn(False)
    again: Callable[[Sequence[TokenRow]], Tensor] = lambda rows: scores(counting, rows, 0, LIMIT)  # type: ignore[arg-type]  # noqa: E731
    alone = again(rows)
    given = list(counting.given)
    assert sum(given) == len(rows)
    assert max(given) < len(rows) / 2
    counting.given.clear()
    more = [replace(rows[5], group=3), *rows, rows[0], rows[23]]
    order = [5, *range(24), 0, 23]
    assert torch.allclose(again(more), alone[order], atol=1e-5)
    assert sum(counting.given) == len(rows)
    batch = rollouts(rows, 0)
    with torch.no_grad():
        whole = in_slices(lambda part: counting.reward.score(part).sum(-1), batch, cut(batch, LIMIT))
    assert torch.equal(alone, whole)
    assert not alone.requires_grad
