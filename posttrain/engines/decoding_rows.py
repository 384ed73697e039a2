"""What the engine knows of the rows under way: what each was asked, what it has said, where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from posttrain.engines.base import Completion, Sampling
from posttrain.engines.choose import choose, uniforms


@dataclass(frozen=True)
class Request:
    id: int
    prompt: tuple[int, ...]
    sampling: Sampling
    seed: int


@dataclass(frozen=True)
class DecodingRows:
    """Tensors of R rows; T is the most tokens that any row of the run may have."""

    requests: list[Request]
    uniform: Tensor  # [R, T] float64, a function of the row's seed and the step
    temperature: Tensor  # [R]
    top_p: Tensor  # [R]
    stops: Tensor  # [R, most stop tokens], -1 where a row has fewer
    limit: Tensor  # [R]
    tokens: Tensor  # [R, T]
    logprobs: Tensor  # [R, T]
    count: Tensor  # [R] tokens so far

    @classmethod
    def of(cls, requests: Sequence[Request], most: tuple[int, int], device: torch.device) -> DecodingRows:
        """Rows that have said nothing yet; ``most`` tokens and stop tokens that any row of the run has."""
        tokens, stops = most
        asked = [request.sampling for request in requests]
        seeds = torch.tensor([request.seed for request in requests], dtype=torch.long)
        shape = (len(requests), tokens)
        ends = [[*s.stop_ids, *[-1] * (stops - len(s.stop_ids))] for s in asked]
        return cls(
            requests=list(requests),
            uniform=uniforms(seeds[:, None], torch.arange(tokens)).to(device),
            temperature=torch.tensor([s.temperature for s in asked], dtype=torch.float32, device=device),
            top_p=torch.tensor([s.top_p for s in asked], device=device),
            stops=torch.tensor(ends, dtype=torch.long, device=device).view(len(asked), stops),
            limit=torch.tensor([s.max_tokens for s in asked], dtype=torch.long, device=device),
            tokens=torch.zeros(shape, dtype=torch.long, device=device),
            logprobs=torch.zeros(shape, device=device),
            count=torch.zeros(len(asked), dtype=torch.long, device=device),
        )

    def take(self, logits: Tensor) -> tuple[Tensor, list[int]]:
        """Chooses each row's next token from logits [R, V]; the tokens [R] and the rows that it ended."""
        asked = [request.sampling for request in self.requests]
        which = torch.arange(len(asked), device=logits.device)
        tokens, logprobs = choose(
            logits,
            self.temperature if any(s.temperature != 1.0 for s in asked) else None,
            self.top_p if any(s.top_p != 1.0 for s in asked) else None,
            self.uniform[which, self.count],
        )
        self.tokens[which, self.count], self.logprobs[which, self.count] = tokens, logprobs
        self.count.add_(1)
        ended = (self.count >= self.limit) | (self.stops == tokens[:, None]).any(-1)
        return tokens, ended.nonzero().squeeze(-1).tolist()

    def completion(self, row: int, version: int) -> Completion:
        request, count = self.requests[row], int(self.count[row])
        tokens = self.tokens[row, :count].tolist()
        return Completion(
            request=request.id,
            tokens=tokens,
            logprobs=self.logprobs[row, :count].tolist(),
            ended=tokens[-1] in request.sampling.stop_ids,
            version=version,
        )

    def joined(self, others: DecodingRows) -> DecodingRows:
        """These rows, then the others."""
        return DecodingRows(
            self.requests + others.requests,
            *(torch.cat((getattr(self, name), getattr(others, name))) for name in _TENSORS),
        )

    def select(self, rows: Sequence[int]) -> DecodingRows:
        index = torch.tensor(rows, dtype=torch.long, device=self.count.device)
        return DecodingRows(
            [self.requests[row] for row in rows], *(getattr(self, name)[index] for name in _TENSORS)
        )


_TENSORS = [field.name for field in fields(DecodingRows) if field.name != "requests"]
