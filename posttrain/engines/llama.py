"""The decoders of Llama's family, written for many rows at once.

Shapes: L layers, R rows, N tokens, C columns of the cache, H query heads, K key heads, E head width, D
model width, F inner width, V vocabulary. The scale of each RMSNorm lives in the matrix after it, a row's keys
in its own slot of the cache from column 0, so that nothing is padded and no row sees how long another is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.engines.packed import Linear, linear
from posttrain.engines.slots import Slots
from posttrain.kernels.decode import decode_kernels
from posttrain.models.frozen import reads_in, tensors
from posttrain.models.positions import context_of

_FAMILY = {"llama", "mistral", "qwen2", "qwen3", "gemma"}
_GATES: dict[str, Callable[[Linear, Tensor], Tensor]] = {
    "silu": lambda made, x: made.silu(x),
    "gelu_pytorch_tanh": lambda made, x: made.gelu_tanh(x),
}


@dataclass
class _Layer:
    qkv: Linear  # D to (H + 2 K) E
    out: Linear  # H E to D
    gate: Linear  # D to F
    up: Linear  # D to F
    down: Linear  # F to D
    heads_norm: tuple[Tensor, Tensor] | None  # [E] for queries and keys, before they turn


class LlamaDecoder:
    """Decodes what Llama, Mistral, Qwen2, Qwen3 and Gemma of transformers decode, from copied weights."""

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether the model is of the family: rotary positions, no window, a gated MLP."""
        config = model.config
        return bool(
            config.model_type in _FAMILY
            and config.hidden_act in _GATES
            and getattr(config, "sliding_window", None) is None
        )

    def __init__(self, model: Any, dtype: torch.dtype | None = None) -> None:
        config, weight = model.config, model.get_input_embeddings().weight
        self.context: int = context_of(model)
        self.vocabulary: int = config.vocab_size
        self.heads: int = config.num_attention_heads
        self.key_heads: int = config.num_key_value_heads
        self.width: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps: float = config.rms_norm_eps
        self.tied: bool = config.tie_word_embeddings
        self.gate = _GATES[config.hidden_act]
        gemma = config.model_type == "gemma"
        self.norm_offset = 1.0 if gemma else 0.0  # Gemma keeps scale - 1
        self.embed_scale = config.hidden_size**0.5 if gemma else 1.0
        self.device, self.dtype = weight.device, dtype or reads_in(model)
        compiled = decode_kernels()
        supported = compiled is not None and compiled.supports(self.device, self.dtype, self.width)
        self.kernels = compiled if supported else None
        self.rotary = copy.deepcopy(model.model.rotary_emb)
        self.names = frozenset(name for name, _ in tensors(model))
        self.layers: list[_Layer] = [None] * config.num_hidden_layers  # type: ignore[list-item]

    def row_bytes(self, columns: int) -> int:
        """Bytes of cache that a row of so many tokens takes."""
        return len(self.layers) * 2 * self.key_heads * self.width * columns * self.dtype.itemsize

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copies and packs the weights. Raises KeyError naming the first one that is missing."""
        for index in range(len(self.layers)):
            self.layers[index] = self._layer(weights, f"model.layers.{index}.")
        self.embed = weights["model.embed_tokens.weight"].detach().to(self.device, self.dtype, copy=True)
        head = "model.embed_tokens.weight" if self.tied else "lm_head.weight"
        self.head = self._linear(weights, [head], self._scale(weights["model.norm.weight"]))

    def _scale(self, norm: Tensor) -> Tensor:
        return norm.detach().float() + self.norm_offset

    def _linear(
        self, weights: Mapping[str, Tensor], names: Sequence[str], scale: Tensor | None = None
    ) -> Linear:
        """Matrices one above the other, their columns scaled, with their biases where the model has them."""
        biases = [name.removesuffix("weight") + "bias" for name in names]
        bias = None
        if self.names.issuperset(biases):
            bias = torch.cat([weights[name].detach() for name in biases])
        like = (self.device, self.dtype)
        return linear([weights[name] for name in names], bias, scale, like, self.kernels)

    def _layer(self, weights: Mapping[str, Tensor], at: str) -> _Layer:
        first, second = (
            self._scale(weights[f"{at}{name}_layernorm.weight"]) for name in ("input", "post_attention")
        )
        attention, mlp = f"{at}self_attn.", f"{at}mlp."
        heads_norm = None
        if f"{attention}q_norm.weight" in self.names:
            q, k = (
                weights[f"{attention}{name}_norm.weight"].detach().to(self.device, self.dtype, copy=True)
                for name in "qk"
            )
            heads_norm = (q, k)
        return _Layer(
            qkv=self._linear(weights, [f"{attention}{name}_proj.weight" for name in "qkv"], first),
            out=self._linear(weights, [f"{attention}o_proj.weight"]),
            gate=self._linear(weights, [f"{mlp}gate_proj.weight"], second),
            up=self._linear(weights, [f"{mlp}up_proj.weight"], second),
            down=self._linear(weights, [f"{mlp}down_proj.weight"]),
            heads_norm=heads_norm,
        )

    def open(self, prompts: Sequence[Sequence[int]], slots: int, columns: int) -> Slots:
        """Room for so many rows of so many columns; what all prompts begin with is read once, here."""
        return Slots(self, prompts, slots, columns)

    def positions(self, columns: int) -> tuple[Tensor, Tensor]:
        """cos and sin [columns, E] float32, of which sin has the sign of the half-rotation:
        x * cos + roll(x, E / 2) * sin.
        """
        like = torch.empty(1, device=self.device)
        cos, sin = self.rotary(like, torch.arange(columns, device=self.device)[None])
        half = self.width // 2
        return cos[0].contiguous(), torch.cat((-sin[0][:, :half], sin[0][:, half:]), -1)

    def embedded(self, tokens: Tensor) -> Tensor:
        x = self.embed[tokens]
        return x if self.embed_scale == 1.0 else x * torch.tensor(self.embed_scale, dtype=x.dtype)

    def normed(self, x: Tensor) -> Tensor:
        if self.kernels is not None:
            return self.kernels.norm(x, self.eps)
        return F.rms_norm(x, (x.shape[-1],), None, self.eps)

    def qkv(self, layer: _Layer, x: Tensor) -> Tensor:
        """[R, (H + 2 K) E] from x [R, D]: queries and keys that have not turned yet, and values."""
        fused = layer.qkv(self.normed(x))
        if layer.heads_norm is not None:
            q, k, v = self.split(fused)
            of_q, of_k = layer.heads_norm
            shape = (self.width,)
            q, k = F.rms_norm(q, shape, of_q, self.eps), F.rms_norm(k, shape, of_k, self.eps)
            fused = torch.cat((q, k, v), 1).flatten(1)
        return fused

    def split(self, fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [R, H, E], keys and values [R, K, E]."""
        parts = fused.view(len(fused), -1, self.width)
        q, k, v = parts.split((self.heads, self.key_heads, self.key_heads), 1)
        return q, k, v

    def turned(self, fused: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``split``, rotated by cos and sin [R, 1, E]."""
        parts = fused.view(len(fused), -1, self.width)
        both, v = parts.split((self.heads + self.key_heads, self.key_heads), 1)
        both = (both * cos + both.roll(self.width // 2, -1) * sin).to(fused.dtype)
        q, k = both.split((self.heads, self.key_heads), 1)
        return q, k, v

    def rest(self, layer: _Layer, x: Tensor, attended: Tensor) -> Tensor:
        """What a layer does after its attention, x and the result [R, D]."""
        x = layer.out.plus(attended, x)
        normed = self.normed(x)
        return layer.down.plus(layer.up.times(normed, self.gate(layer.gate, normed)), x)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.normed(x))
