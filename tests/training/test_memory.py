"""No step ever holds the logits of all that was said: nothing it makes is as large as steps x vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig

from posttrain.core import logprobs
from posttrain.models.collate import rollouts
from posttrain.storage.token_rows import TokenRow
from posttrain.training.optimizer import Group
from posttrain.training.update import Part, update
from tests.training.test_invariance import Watched, models
from tests.training.test_packing import METHODS

VOCABULARY, ROWS = 3000, 6


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation gave."""

    found = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, torch.Tensor):
                self.found = max(self.found, one.numel())
        return out


def config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        pad_token_id=1,
    )


def largest(name: str, length: int) -> int:
    g = torch.Generator().manual_seed(0)
    rows = [
        TokenRow(
            ids=torch.randint(5, VOCABULARY, (length + 1,), generator=g).tolist(),
            mask=[False] + [True] * length,
            logprobs=[-3.0] * length,
            reward=float(i % 3),
            group=i // 2,
        )
        for i in range(ROWS)
    ]
    live = models(config(), torch.float32)
    with Largest() as seen:
        part: Part = METHODS[name](live, rollouts(rows, 0))
        update(
            Watched(
                Group(name=role, parameters=list(model.parameters()), learning_rate=1e-3)
                for role, model in live.items()
            ),
            [part],
            10**6,
        )
    return seen.found


@pytest.mark.parametrize("name", ["sft", "dpo", "grpo", "ppo-kl-exact"])
def test_no_tensor_grows_with_length_times_vocabulary(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "CPU_ELEMENTS", 1 << 12)
    monkeypatch.setattr(logprobs, "ROWS", 16)
    weights = VOCABULARY * 8
    short, long = largest(name, 30), largest(name, 60)
    assert short == long  # Watched keeps the gradient of all weights in one vector: nothing else is larger
    assert long < 4 * weights < ROWS * 30 * VOCABULARY


def test_logits_of_a_whole_batch_would_be_found() -> None:
    x = torch.randn(ROWS * 30, 8)
    with Largest() as seen:
        x @ torch.randn(8, VOCABULARY)
    assert seen.found == ROWS * 30 * VOCABULARY
