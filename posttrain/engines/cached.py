"""Any causal LM through its own forward and cache: slower than a decoder written for it, and as exact."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.models.cache import growing_cache
from posttrain.models.frozen import opened_copy, reads_in
from posttrain.models.positions import context_of


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens [P, longest] and what is real [P, longest]; token 0 stands in the padding."""
    width = max(map(len, prompts))
    tokens = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    real = torch.arange(width, device=device) >= width - lengths[:, None]
    return tokens, real


class CachedDecoder:
    """Holds a copy of the model. Shapes: P distinct prompts, R rows, S columns, V vocabulary."""

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether rows can be padded on the left: padding does not shift given positions."""
        return "position_ids" in inspect.signature(model.forward).parameters

    def __init__(self, model: Any, dtype: torch.dtype | None = None) -> None:
        config = model.config
        self.model = opened_copy(model).eval().requires_grad_(False).to(dtype or reads_in(model))
        self.context: int = context_of(model)
        weight = self.model.get_input_embeddings().weight
        self.vocabulary: int = weight.shape[0]
        self.device, self.dtype = weight.device, weight.dtype
        self._column_bytes = 2 * config.num_hidden_layers * config.hidden_size * self.dtype.itemsize
        signature = inspect.signature(self.model.forward).parameters
        self.options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in signature else {}

    def row_bytes(self, columns: int) -> int:
        """Bytes of cache that a row of so many tokens takes at most: as if every query head had keys."""
        return self._column_bytes * columns

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copies the weights. Raises KeyError naming the first one that is missing."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(weights[name])

    def open(self, prompts: Sequence[Sequence[int]], slots: int, columns: int) -> CachedRows:
        """Rows grow with what is in them; no room is taken before."""
        return CachedRows(self)

    def forward(self, tokens: Tensor, positions: Tensor, real: Tensor, cache: Any) -> Tensor:
        """Logits [R, V] after the last of tokens [R, n] at positions [R, n]; real [R, S + n]."""
        out = self.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=real.long(),
            past_key_values=cache,
            use_cache=True,
            **self.options,
        )
        logits: Tensor = out.logits[:, -1]
        return logits


@dataclass(frozen=True)
class CachedRead:
    """A read prompt: of each layer keys and values [K, n, E], and the next token's logits [V]."""

    layers: list[tuple[Tensor, Tensor]]
    logits: Tensor


class CachedRows:
    """Rows under way, all ending in the last column: the model's own cache and its real columns [R, S]."""

    refill_threshold = 0.25  # letting rows in copies the cache, so a quarter of the slots waits to be free

    def __init__(self, decoder: CachedDecoder) -> None:
        self.decoder = decoder
        self.real = torch.zeros(0, 0, dtype=torch.bool, device=decoder.device)
        self.cache = growing_cache()

    def read(self, prompts: Sequence[Sequence[int]]) -> list[CachedRead]:
        """Reads the prompts together, padded on the left."""
        tokens, real = left_padded(prompts, self.decoder.device)
        cache = growing_cache()
        logits = self.decoder.forward(tokens, (real.cumsum(-1) - 1).clamp_min(0), real, cache)
        return [
            CachedRead([(x.keys[i, :, -n:], x.values[i, :, -n:]) for x in cache.layers], logits[i])
            for i, n in enumerate(map(len, prompts))
        ]

    def arrange(self, rows: Sequence[int | CachedRead]) -> None:
        """Row i becomes the former row rows[i], or begins with a prompt; unused leading
        columns are dropped.
        """
        device = self.real.device
        staying = [(slot, row) for slot, row in enumerate(rows) if isinstance(row, int)]
        new = [(slot, row) for slot, row in enumerate(rows) if not isinstance(row, int)]
        places = torch.tensor([slot for slot, _ in staying], dtype=torch.long, device=device)
        stay = torch.tensor([row for _, row in staying], dtype=torch.long, device=device)
        lengths = torch.zeros(len(rows), dtype=torch.long, device=device)
        lengths[places] = self.real[stay].sum(-1)
        for slot, row in new:
            lengths[slot] = row.layers[0][0].shape[1]
        width = int(lengths.max())
        fresh = growing_cache()
        for index in range(len(new[0][1].layers) if new else len(self.cache.layers)):
            both = []
            for part in (0, 1):
                like = new[0][1].layers[index][part] if new else self._old(index)[part][0]
                full = like.new_zeros(len(rows), like.shape[0], width, like.shape[-1])
                if staying:
                    old = self._old(index)[part]
                    used = min(width, old.shape[2])
                    full[places, :, width - used :] = old[stay][:, :, old.shape[2] - used :]
                for slot, row in new:
                    piece = row.layers[index][part]
                    full[slot, :, width - piece.shape[1] :] = piece
                both.append(full)
            fresh.update(*both, index)
        self.cache = fresh
        self.real = torch.arange(width, device=device) >= width - lengths[:, None]

    def _old(self, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values [R, K, S, E] of a layer."""
        layer = self.cache.layers[index]
        return layer.keys, layer.values

    def step(self, tokens: Tensor) -> Tensor:
        """Appends tokens [R]; the logits [R, V] of what follows."""
        positions = self.real.sum(-1, keepdim=True)
        self.real = F.pad(self.real, (0, 1), value=True)
        return self.decoder.forward(tokens[:, None], positions, self.real, self.cache)
