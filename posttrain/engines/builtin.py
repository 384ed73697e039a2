"""The engine that is always there: PyTorch, in this process, many rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor

from posttrain.engines.cached import CachedDecoder
from posttrain.engines.choose import choose, uniforms
from posttrain.engines.llama import LlamaDecoder
from posttrain.engines.protocol import Completion, Sampling
from posttrain.pipeline.finding import UserError


class Wave(Protocol):
    """Rows under way inside a decoder."""

    def step(self, tokens: Tensor) -> Tensor: ...
    def keep(self, rows: Tensor) -> None: ...


class Decoder(Protocol):
    """What the engine asks of an architecture."""

    context: int
    vocabulary: int
    device: torch.device

    def row_bytes(self, columns: int) -> int: ...
    def load(self, weights: Mapping[str, Tensor]) -> None: ...
    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> tuple[Tensor, Wave]: ...


@dataclass(frozen=True)
class _Request:
    id: int
    prompt: tuple[int, ...]
    sampling: Sampling
    seed: int


class BuiltinEngine:
    """Generates with a causal LM of transformers.

    Requests of like length run together in waves of at most ``max_rows`` rows and ``cache_bytes`` of cache;
    equal prompts are read once; finished rows leave the wave. The model is copied: only ``load`` changes the
    weights.
    """

    def __init__(
        self, model: Any, *, version: int = 0, max_rows: int = 512, cache_bytes: int = 1 << 30
    ) -> None:
        decoder = next((kind for kind in (LlamaDecoder, CachedDecoder) if kind.fits(model)), None)
        if decoder is None:
            raise UserError(
                f"model of type {model.config.model_type!r}: its forward takes no position_ids, which "
                "batched generation needs; use a decoder-only transformer with explicit positions (Llama, "
                "GPT-2, Qwen, ...)"
            )
        self._decoder: Decoder = decoder(model)
        self._max_rows = max_rows
        self._cache_bytes = cache_bytes
        self._waiting: list[_Request] = []
        self._next = 0
        self._version = version
        self.load(model.state_dict().items(), version)

    @property
    def version(self) -> int:
        """Of the weights in use."""
        return self._version

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its answer may have together."""
        return self._decoder.context

    def load(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Copies the weights, named as in the model's state dict. Raises ValueError for a missing one."""
        try:
            self._decoder.load(dict(weights))
        except KeyError as missing:
            raise ValueError(f"weights for version {version} lack {missing}") from missing
        self._version = version

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int) -> int:
        """Queues a prompt of token ids; the number that its Completion will carry.

        Raises UserError for an empty prompt, a token beyond the vocabulary, or no room for the answer.
        """
        d = self._decoder
        if not prompt:
            raise UserError("the prompt has no tokens; expected at least one")
        if not 0 <= min(prompt) <= max(prompt) < d.vocabulary:
            raise UserError(
                f"the prompt has token ids from {min(prompt)} to {max(prompt)}, the model {d.vocabulary} "
                "embeddings; use the tokenizer that belongs to the model"
            )
        if len(prompt) + sampling.max_tokens > d.context:
            raise UserError(
                f"a prompt of {len(prompt)} tokens and an answer of up to {sampling.max_tokens} exceed the "
                f"model's context of {d.context}; shorten the prompt or lower max_tokens"
            )
        request = _Request(self._next, tuple(prompt), sampling, seed & ((1 << 63) - 1))
        self._waiting.append(request)
        self._next += 1
        return request.id

    def finished(self) -> Iterator[Completion]:
        """Every submitted request, a wave at a time."""
        waiting, self._waiting = self._waiting, []
        # Like lengths together, so that little is padded; equal prompts together, to be read once.
        waiting.sort(key=lambda r: (hash(r.sampling), len(r.prompt), r.prompt, r.id))
        for sampling, requests in groupby(waiting, key=lambda r: r.sampling):
            queue = list(requests)
            while queue:
                # The longest prompt left sets the width of the wave it is in, so it is taken first.
                columns = len(queue[-1].prompt) + sampling.max_tokens
                size = max(1, min(self._max_rows, self._cache_bytes // self._decoder.row_bytes(columns)))
                wave, queue = queue[-size:], queue[:-size]
                yield from self._run(wave, sampling)

    @torch.no_grad()
    def _run(self, requests: list[_Request], sampling: Sampling) -> list[Completion]:
        """Generates for one wave."""
        device = self._decoder.device
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(r.prompt for r in requests))}
        rows = torch.tensor([place[r.prompt] for r in requests], device=device)
        logits, wave = self._decoder.start(list(place), rows, sampling.max_tokens)
        seeds = torch.tensor([r.seed for r in requests], device=device)
        stops = torch.tensor(sampling.stop_ids, dtype=torch.long, device=device)
        shape = (len(requests), sampling.max_tokens)
        tokens = torch.zeros(shape, dtype=torch.long, device=device)
        logprobs = torch.zeros(shape, device=device)
        lengths = torch.full(shape[:1], sampling.max_tokens, device=device)
        ended = torch.zeros(shape[:1], dtype=torch.bool, device=device)
        active = torch.arange(len(requests), device=device)  # which request a row of the wave is
        for step in range(sampling.max_tokens):
            chosen, chance = choose(logits, sampling, uniforms(seeds[active], step))
            tokens[active, step], logprobs[active, step] = chosen, chance
            stopped = torch.isin(chosen, stops) & ~ended[active]
            lengths[active[stopped]] = step + 1
            ended[active[stopped]] = True
            running = ~ended[active]
            left = int(running.sum())
            if left == 0 or step + 1 == sampling.max_tokens:
                break
            if left <= 0.75 * len(active):  # copying the cache pays only when many have gone
                staying = running.nonzero().squeeze(-1)
                wave.keep(staying)
                active, chosen = active[staying], chosen[staying]
            logits = wave.step(chosen)
        return [
            Completion(request=r.id, tokens=t[:n], logprobs=p[:n], ended=e, version=self._version)
            for r, t, p, n, e in zip(
                requests, tokens.tolist(), logprobs.tolist(), lengths.tolist(), ended.tolist(), strict=True
            )
        ]
