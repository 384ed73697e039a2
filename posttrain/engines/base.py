"""What an engine is asked and what it answers: prompts of token ids in, sampled token ids out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from posttrain.pipeline.finding import UserError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    ``temperature`` divides the logits; 0 takes the likeliest token. ``top_p`` below 1 keeps the smallest set
    of tokens whose probability reaches it (Holtzman et al. 2020): for chatting only, since a loss over the
    full support reads such samples wrongly. Raises UserError outside the ranges.
    """

    temperature: float = 1.0
    max_tokens: int = 64
    stop_ids: tuple[int, ...] = ()
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise UserError(f"temperature={self.temperature}: expected 0 (take the likeliest token) or above")
        if self.max_tokens < 1:
            raise UserError(f"max_tokens={self.max_tokens}: expected at least 1")
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(f"top_p={self.top_p}: expected above 0 and at most 1 (1 keeps every token)")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One answer. ``tokens`` includes the stop token when there was one."""

    request: int  # what submit() returned
    tokens: list[int]
    logprobs: list[
        float
    ]  # of each token under what it was drawn from, in fp32; at temperature 0, under T = 1
    ended: bool  # by a stop token; otherwise max_tokens cut it
    version: int  # of the weights that sampled it


class Engine(Protocol):
    """Anything that continues prompts. An answer depends on its prompt, sampling, seed and the weights,
    not on what else was submitted."""

    @property
    def version(self) -> int: ...

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its answer may have together."""

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int) -> int: ...

    def finished(self) -> Iterator[Completion]:
        """Every submitted request, in the order in which they finish."""

    def load(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Copies the weights, named as in the model's state dict; later training does not reach the copy."""
