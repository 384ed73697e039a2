"""A row's tokens and log-probabilities depend on prompt and seed, to the bit, not on who runs beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from posttrain.engines.base import Completion, Sampling
from posttrain.engines.builtin import BuiltinEngine
from tests.kernels.paths import COMPILED, computed_by

LENGTHS = (3, 25, 9, 61, 14, 2, 38)


@pytest.fixture(autouse=True, params=[*COMPILED, "off"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    with computed_by(request.param):
        yield request.param


def answers(
    model: LlamaForCausalLM, slots: int, dtype: torch.dtype, only: int | None = None
) -> list[Completion]:
    engine = BuiltinEngine(model, max_rows=slots, dtype=dtype)
    for seed, tokens in enumerate(LENGTHS):
        if only in (None, seed):
            engine.submit([5 + seed % 2, 7, 8], Sampling(max_tokens=tokens), seed)
    return sorted(engine.finished(), key=lambda done: done.request)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neighbours_change_no_bit(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    said = [(done.tokens, done.logprobs) for done in answers(model, 7, dtype)]
    for slots in (2, 4):
        assert said == [(done.tokens, done.logprobs) for done in answers(model, slots, dtype)]
    for number in range(len(LENGTHS)):
        (alone,) = answers(model, 1, dtype, only=number)
        assert (alone.tokens, alone.logprobs) == said[number]
