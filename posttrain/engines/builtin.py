"""The built-in engine: PyTorch, in this process, many rows at once.

A run (``_Run``) has some slots, each with a row's keys and values. Rows that end free their slots; once a
share ``refill_threshold`` of the slots is free, waiting requests fill them:

    slots   [A][B][C][D]     B ends
            [A][ ][C][D]     one of four free: below refill_threshold, A, C and D go on
            [A][ ][ ][D]     C ends: refill_threshold reached
            [A][E][F][D]     E and F begin from their prompts' keys and values
    queue   E F G H          without waiting requests the last rows move down: [A][D]
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from posttrain.engines.base import Completion, Sampling
from posttrain.engines.cached import CachedDecoder
from posttrain.engines.decoding_rows import DecodingRows, Request
from posttrain.engines.llama import LlamaDecoder
from posttrain.models.frozen import tensors
from posttrain.pipeline.finding import UserError

# the number of a request, a token that was chosen for it and its log-probability; True ends the row
Watch = Callable[[int, int, float], bool]
_READ_AHEAD = 256  # tokens of prompts read together although their rows must wait
_READ_MOST = 4096  # tokens of prompts read together


class Cache(Protocol):
    """Keys and values of the rows under way. Requests begin once ``refill_threshold`` of the
    slots are free.
    """

    refill_threshold: float

    def read(self, prompts: Sequence[Sequence[int]]) -> Sequence[Any]: ...
    def arrange(self, rows: Sequence[Any]) -> None: ...
    def step(self, tokens: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """What the engine asks of an architecture."""

    context: int
    vocabulary: int
    device: torch.device

    def row_bytes(self, columns: int) -> int: ...
    def load(self, weights: Mapping[str, Tensor]) -> None: ...
    def open(self, prompts: Sequence[Sequence[int]], slots: int, columns: int) -> Cache: ...


class BuiltinEngine:
    """Generates with a causal LM of transformers.

    At most ``max_rows`` rows and ``cache_bytes`` of cache are under way at a time; the slot of a row that
    ends is given to the next request at once, and equal prompts are read once. The model is copied, in
    ``dtype`` where one is given: only ``load`` changes the weights.
    """

    def __init__(
        self,
        model: Any,
        *,
        version: int = 0,
        max_rows: int = 512,
        cache_bytes: int = 1 << 30,
        dtype: torch.dtype | None = None,
    ) -> None:
        kind = next((kind for kind in (LlamaDecoder, CachedDecoder) if kind.fits(model)), None)
        if kind is None:
            raise UserError(
                f"model of type {model.config.model_type!r}: its forward takes no position_ids, which "
                "batched generation needs; use a decoder-only transformer with explicit positions (Llama, "
                "GPT-2, Qwen, ...)"
            )
        self._decoder: Decoder = kind(model, dtype)
        self._max_rows = max_rows
        self._cache_bytes = cache_bytes
        self._waiting: list[Request] = []
        self._next = 0
        self._version = version
        self._running = False
        self.load(((name, opened()) for name, opened in tensors(model)), version)

    @property
    def version(self) -> int:
        """Of the weights in use."""
        return self._version

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its answer may have together."""
        return self._decoder.context

    def load(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Copies the weights, named as in the model's state dict.

        Raises ValueError for a missing one, and while answers are under way: they would be of two versions.
        """
        if self._running:
            raise ValueError(f"weights for version {version} came before finished() had yielded every answer")
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
        request = Request(self._next, tuple(prompt), sampling, seed & ((1 << 63) - 1))
        self._waiting.append(request)
        self._next += 1
        return request.id

    def forget(self) -> None:
        """Drops what was submitted and has not begun."""
        self._waiting.clear()

    def finished(self, watch: Watch | None = None) -> Iterator[Completion]:
        """Every submitted request, each as soon as it has ended. ``watch`` is told of each token when it is
        chosen, and may end its row.
        """
        self._running = True
        try:
            while self._waiting:
                requests, slots, columns = self._group()
                prompts = list(dict.fromkeys(request.prompt for request in requests))
                with torch.no_grad():
                    cache = self._decoder.open(prompts, slots, columns)
                run = _Run(cache, requests, slots, self._version, self._decoder.device)
                run.watch = watch
                yield from run.completions()
        finally:
            self._running = False

    def _group(self) -> tuple[list[Request], int, int]:
        """Takes requests that run together, in the order of their prompts; how many at once, and the columns
        that the longest may need.

        Where memory and not ``max_rows`` limits them, only requests of similar length run together.
        """
        sizes = [len(request.prompt) + request.sampling.max_tokens for request in self._waiting]
        columns = max(sizes)
        slots = max(1, self._cache_bytes // self._decoder.row_bytes(columns))
        least = 0 if slots >= min(self._max_rows, len(sizes)) else columns // 2
        taken = [request for request, size in zip(self._waiting, sizes, strict=True) if size > least]
        self._waiting = [r for r, size in zip(self._waiting, sizes, strict=True) if size <= least]
        first = {request.prompt: order for order, request in reversed(list(enumerate(taken)))}
        taken.sort(key=lambda request: (first[request.prompt], request.id))
        return taken, min(slots, self._max_rows, len(taken)), columns


class _Run:
    """One filling and emptying of the slots."""

    def __init__(
        self, cache: Cache, requests: Sequence[Request], slots: int, version: int, device: torch.device
    ) -> None:
        self.cache, self.slots, self.version, self.device = cache, slots, version, device
        self.watch: Watch | None = None
        self.queue = deque(requests)
        self.unread = deque(dict.fromkeys(request.prompt for request in requests))
        self.left = Counter(request.prompt for request in requests)  # of each prompt, rows not begun
        self.reads: dict[tuple[int, ...], Any] = {}
        asked = [request.sampling for request in requests]
        self.most = (max(s.max_tokens for s in asked), max(len(s.stop_ids) for s in asked))
        self.rows = DecodingRows.of([], self.most, device)
        self.last = torch.zeros(0, dtype=torch.long, device=device)  # each row's newest token

    def completions(self) -> Iterator[Completion]:
        while self.queue or self.rows.requests:
            yield from self._advance()

    @torch.no_grad()
    def _advance(self) -> list[Completion]:
        """Samples a token for each row under way; then fills free slots with waiting requests,
        or closes them.
        """
        rows, done, ended = self.rows, [], set()
        if rows.requests:
            self.last, over = self._taken(rows, self.cache.step(self.last))
            done, ended = [rows.completion(row, self.version) for row in over], set(over)
        staying = [row for row in range(len(rows.requests)) if row not in ended]
        room = self.slots - len(staying)
        begin = bool(self.queue) and room >= max(1, self.cache.refill_threshold * self.slots)
        if begin or ended:  # most steps change nothing but the newest tokens
            fresh, reads, first = self._begin(room if begin else 0, done)
            self.rows, self.last = rows.joined(fresh), torch.cat((self.last, first))
            self._arrange(staying, reads, len(rows.requests))
        return done

    def _taken(self, rows: DecodingRows, logits: Tensor) -> tuple[Tensor, list[int]]:
        """Each row's next token [R], and the rows that end with it."""
        tokens, over = rows.take(logits)
        if self.watch is None:
            return tokens, over
        ends = set(over)
        for row, request in enumerate(rows.requests):
            logprob = float(rows.logprobs[row, int(rows.count[row]) - 1])
            if self.watch(request.id, int(tokens[row]), logprob):
                ends.add(row)
        return tokens, sorted(ends)

    def _begin(self, room: int, done: list[Completion]) -> tuple[DecodingRows, list[Any], Tensor]:
        """At most ``room`` rows that have their first token: they, what they read, and that token. Those that
        it ended are done at once.
        """
        fresh, first = DecodingRows.of([], self.most, self.device), [self.last[:0]]
        reads: list[Any] = []
        while self.queue and len(reads) < room:
            count = min(room - len(reads), len(self.queue))
            requests = [self.queue.popleft() for _ in range(count)]
            read = self._read(requests)
            rows = DecodingRows.of(requests, self.most, self.device)
            tokens, over = self._taken(rows, torch.stack([one.logits for one in read]))
            done += [rows.completion(row, self.version) for row in over]
            stay = [row for row in range(count) if row not in set(over)]
            fresh = fresh.joined(rows.select(stay))
            reads += [read[row] for row in stay]
            first.append(tokens[stay])
        return fresh, reads, torch.cat(first)

    def _read(self, requests: Sequence[Request]) -> list[Any]:
        """The keys and values of each request's prompt; prompts are computed in the order in
        which rows begin.
        """
        needed = {request.prompt for request in requests} - self.reads.keys()
        while needed:
            together: list[tuple[int, ...]] = []
            size = 0
            while self.unread and size < (_READ_MOST if needed else _READ_AHEAD):
                together.append(self.unread.popleft())
                size += len(together[-1])
                needed.discard(together[-1])
            self.reads.update(zip(together, self.cache.read(together), strict=True))
        results = [self.reads[request.prompt] for request in requests]
        for request in requests:
            self.left[request.prompt] -= 1
            if not self.left[request.prompt]:
                del self.reads[request.prompt]
        return results

    def _arrange(self, rows_that_stay: Sequence[int], reads: Sequence[Any], before: int) -> None:
        """Rows that stay keep their slots. Holes are filled first by rows beyond the last slot that is
        needed, then by new rows. Of the joined rows, the first ``before`` have slots and the rest begin.
        """
        count = len(rows_that_stay) + len(reads)
        staying = {row for row in rows_that_stay if row < count}
        moving = iter([*(row for row in rows_that_stay if row >= count), *range(before, before + len(reads))])
        order = [slot if slot in staying else next(moving) for slot in range(count)]
        if order:
            self.cache.arrange([row if row < before else reads[row - before] for row in order])
        self.rows, self.last = self.rows.select(order), self.last[order]
