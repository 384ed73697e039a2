"""Any causal LM through its own forward and cache: slower than a decoder written for it, and as exact."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from posttrain.engines.llama import left_padded


class CachedDecoder:
    """Holds a copy of the model. Shapes: P distinct prompts, R rows, S columns, V vocabulary."""

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether rows can be padded on the left: padding does not shift given positions."""
        return "position_ids" in inspect.signature(model.forward).parameters

    def __init__(self, model: Any) -> None:
        config = model.config
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.context: int = config.max_position_embeddings
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

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> tuple[Tensor, CachedWave]:
        """Reads each prompt once and spreads it over its rows, as LlamaDecoder.start does."""
        tokens, real = left_padded(prompts, self.device)
        wave = CachedWave(self, real.long())
        logits = wave.forward(tokens, (real.cumsum(-1) - 1).clamp_min(0))
        wave.keep(rows)
        return logits[rows], wave


class CachedWave:
    """Rows under way: the model's own cache and which of its columns are real [R, S]."""

    def __init__(self, decoder: CachedDecoder, real: Tensor) -> None:
        self.decoder = decoder
        self.real = real
        self.cache: Any = None

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Logits [R, V] after the last of tokens [R, n] at positions [R, n]."""
        out = self.decoder.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=self.real,
            past_key_values=self.cache,
            use_cache=True,
            **self.decoder.options,
        )
        self.cache = out.past_key_values
        return out.logits[:, -1]

    def step(self, tokens: Tensor) -> Tensor:
        """Appends tokens [R]; the logits [R, V] of what follows."""
        positions = self.real.sum(-1, keepdim=True)
        self.real = torch.cat((self.real, torch.ones_like(positions)), -1)
        return self.forward(tokens[:, None], positions)

    def keep(self, rows: Tensor) -> None:
        """Keeps these rows [R'], each as often as it is named."""
        self.cache.batch_select_indices(rows)
        self.real = self.real[rows]
