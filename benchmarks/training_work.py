"""What both sides of a benchmark of training do in a step: rows of the same lengths, the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from posttrain.models.lora import Lora
from posttrain.models.roles import ModelPlacement
from posttrain.storage.token_rows import TokenRow

RATE = 1e-6
SIDES = tuple[Callable[[], Any], Callable[[], Iterator[Any]]]  # what makes TRL's trainer, and our loop


@dataclass(frozen=True)
class Work:  # size: two sides, their types, and how much they do
    """``dtype`` is that of our matrix products, ``theirs_dtype`` of TRL's; weights are float32 in both."""

    model: str
    dtype: str
    theirs_dtype: str
    steps: int
    sizes: dict[str, int]  # rows, prompt, answer, group
    vocabulary: int
    lora: bool = False  # our roles as adapters on one trunk

    @property
    def placement(self) -> ModelPlacement:
        return ModelPlacement(compute=None if self.dtype == "float32" else self.dtype)

    @property
    def adapters(self) -> Lora | None:
        return Lora() if self.lora else None

    def random_tokens(self, seed: int, mean: float) -> list[int]:
        """Tokens of a log-normal number, a quarter of the mean to four times as many."""
        g = torch.Generator().manual_seed(seed)
        n = mean * float((torch.randn((), generator=g) * 0.6 - 0.18).exp())
        n = int(min(max(n, mean / 4), mean * 4))
        return torch.randint(20, self.vocabulary, (n,), generator=g).tolist()

    def pairs(self) -> list[tuple[list[int], list[int], list[int]]]:
        """Prompt, chosen and rejected."""
        prompt, answer = self.sizes["prompt"], self.sizes["answer"]
        return [
            (
                self.random_tokens(3 * i, prompt),
                self.random_tokens(3 * i + 1, answer),
                self.random_tokens(3 * i + 2, answer),
            )
            for i in range(self.sizes["rows"] * (self.steps + 1))
        ]

    def settings(self, **more: Any) -> dict[str, Any]:
        """What every trainer of TRL is told."""
        return {
            "per_device_train_batch_size": self.sizes["rows"],
            "max_steps": self.steps + 1,
            "learning_rate": RATE,
            "lr_scheduler_type": "constant",
            "bf16": self.theirs_dtype == "bfloat16",
            "gradient_checkpointing": False,
            "report_to": "none",
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            **more,
        }

    def theirs(self, kind: Any = AutoModelForCausalLM, **more: Any) -> Any:
        return kind.from_pretrained(self.model, dtype=torch.float32, **more)


def row(prompt: list[int], answer: list[int], group: int = -1) -> TokenRow:
    return TokenRow(ids=[*prompt, *answer], mask=[False] * len(prompt) + [True] * len(answer), group=group)
