"""Answers of a model, and how far each is from a reference, in nats."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from posttrain.engines.base import Sampling
from posttrain.evaluation.answering import answers, kl_per_answer

PROMPTS = [{"prompt": [{"role": "user", "content": text}]} for text in ("Hi", "Who is it?")]


def test_kl_is_the_sum_over_an_answer_of_each_step_from_the_policy_to_the_reference(
    small_llama: Any, letters: PreTrainedTokenizerFast
) -> None:
    policy = copy.deepcopy(small_llama)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    said = answers(policy, letters, PROMPTS, Sampling(max_tokens=9), 0, each=3)
    found = kl_per_answer((policy, small_llama), said, Sampling(max_tokens=9), 1, 40)
    for episode, nats in zip(said, found, strict=True):
        ids, start = torch.tensor([episode.ids]), episode.mask.index(True) - 1
        with torch.no_grad():
            p, q = (
                model(ids).logits[0, start:-1].double().log_softmax(-1) for model in (policy, small_llama)
            )
        assert nats == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-4)
        assert len(p) == sum(episode.mask)
    assert min(found) > 0.01


def test_answers_to_one_prompt_stand_together_and_differ(
    small_llama: Any, letters: PreTrainedTokenizerFast
) -> None:
    said = answers(small_llama, letters, PROMPTS, Sampling(max_tokens=12), 4, each=5)
    assert [one.prompt for one in said] == [PROMPTS[0]] * 5 + [PROMPTS[1]] * 5
    assert len({one.response for one in said[:5]}) > 1
    again = answers(small_llama, letters, PROMPTS, Sampling(max_tokens=12), 4, each=5)
    other = answers(small_llama, letters, PROMPTS, Sampling(max_tokens=12), 5, each=5)
    texts = [[one.response for one in some] for some in (said, again, other)]
    assert texts[0] == texts[1] != texts[2]
