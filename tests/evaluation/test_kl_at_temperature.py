"""KL per answer is that of the distributions the answers were drawn from, at every temperature
(enumerated).
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from posttrain.engines.base import Sampling
from posttrain.evaluation.answering import kl_per_answer
from posttrain.rewards.base import Episode

WORDS, PROMPT, STEPS = 5, [1, 3], 3


def model(seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
    )
    made = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(6.0)  # far from uniform, so that a temperature shows
    return made


def log_p(made: Any, answer: tuple[int, ...], temperature: float) -> torch.Tensor:
    """Of a whole answer, with the logits of every step divided by the temperature."""
    ids = torch.tensor([[*PROMPT, *answer]])
    logits = made(input_ids=ids).logits[0, len(PROMPT) - 1 : -1].double() / temperature
    return logits.log_softmax(-1)[torch.arange(len(answer)), list(answer)].sum()


@pytest.mark.parametrize("temperature", [0.5, 0.7, 1.0, 1.6])
@torch.no_grad()
def test_its_mean_over_all_answers_is_the_enumerated_kl(temperature: float) -> None:
    policy, reference = model(0), model(1)
    answers = list(itertools.product(range(WORDS), repeat=STEPS))
    episodes = [
        Episode(
            prompt={},
            response="",
            ids=[*PROMPT, *answer],
            mask=[False] * len(PROMPT) + [True] * STEPS,
            logprobs=[0.0] * STEPS,
            ended=True,
            version=0,
        )
        for answer in answers
    ]
    p = torch.stack([log_p(policy, answer, temperature) for answer in answers])
    q = torch.stack([log_p(reference, answer, temperature) for answer in answers])
    assert float(p.exp().sum()) == pytest.approx(1.0)
    sampling = Sampling(temperature=temperature, max_tokens=STEPS)
    found = torch.tensor(kl_per_answer((policy, reference), episodes, sampling, 0, 512), dtype=torch.float64)
    assert float((p.exp() * found).sum()) == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-5)
