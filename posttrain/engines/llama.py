"""A Llama decoder for many rows at once: fused projections, a preallocated cache, no idle logits.

Shapes: P distinct prompts, R rows, L layers, S columns of the cache, H query heads, K key heads, E head
width, D model width, V vocabulary. Prompts end in one column (padding is on the left and masked), so that
all rows write the same column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ROPE = {"default", "linear", "llama3"}  # position tables that do not depend on the length of the text


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens [P, longest] and what is real [P, longest]; token 0 stands in the padding."""
    width = max(map(len, prompts))
    tokens = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    real = torch.arange(width, device=device) >= width - lengths[:, None]
    return tokens, real


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, such as a system prompt; each keeps at least one of its own.

    0 where reading them apart would cost more than it saves.
    """
    least = min(map(len, prompts)) - 1
    count = next((i for i in range(least) if len({prompt[i] for prompt in prompts}) > 1), least)
    return count if len(prompts) > 1 and count >= 8 else 0


@dataclass
class _Layer:
    first_norm: Tensor  # [D]
    qkv: Tensor  # [(H + 2 K) E, D]
    out: Tensor  # [D, H E]
    second_norm: Tensor  # [D]
    gate_up: Tensor  # [2 F, D]
    down: Tensor  # [D, F]


class LlamaDecoder:
    """Decodes what ``LlamaForCausalLM`` decodes, without its bookkeeping, from a copy of the weights."""

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether the model is a plain Llama: silu, no biases, a fixed position table."""
        config = model.config
        return bool(
            config.model_type == "llama"
            and config.hidden_act == "silu"
            and not config.attention_bias
            and not config.mlp_bias
            and config.rope_parameters["rope_type"] in _ROPE
        )

    def __init__(self, model: Any) -> None:
        config = model.config
        self.context: int = config.max_position_embeddings
        self.vocabulary: int = config.vocab_size
        self.heads: int = config.num_attention_heads
        self.key_heads: int = config.num_key_value_heads
        self.width: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps: float = config.rms_norm_eps
        self.tied: bool = config.tie_word_embeddings
        weight = model.get_input_embeddings().weight
        self.device, self.dtype = weight.device, weight.dtype
        with torch.no_grad():
            cos, sin = model.model.rotary_emb(weight, torch.arange(self.context, device=self.device)[None])
        half = self.width // 2
        self.cos = cos[0]  # [context, E]
        # The sign of the half-rotation lives in the table: x * cos + roll(x, E/2) * sin.
        self.sin = torch.cat((-sin[0][:, :half], sin[0][:, half:]), -1)
        self.layers: list[_Layer] = [None] * config.num_hidden_layers  # type: ignore[list-item]

    def row_bytes(self, columns: int) -> int:
        """Bytes of cache that a row of so many tokens takes."""
        return len(self.layers) * 2 * self.key_heads * self.width * columns * self.dtype.itemsize

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copies the weights. Raises KeyError naming the first one that is missing."""

        def joined(index: int, *names: str) -> Tensor:
            parts = [weights[f"model.layers.{index}.{name}.weight"].detach() for name in names]
            return torch.cat([part.to(self.device, self.dtype) for part in parts]).clone()

        for index in range(len(self.layers)):
            self.layers[index] = _Layer(
                first_norm=joined(index, "input_layernorm"),
                qkv=joined(index, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                out=joined(index, "self_attn.o_proj"),
                second_norm=joined(index, "post_attention_layernorm"),
                gate_up=joined(index, "mlp.gate_proj", "mlp.up_proj"),
                down=joined(index, "mlp.down_proj"),
            )
        top = {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight"}
        top["head"] = top["embed"] if self.tied else "lm_head.weight"
        copies = {
            name: weights[name].detach().to(self.device, self.dtype, copy=True) for name in set(top.values())
        }
        self.embed, self.norm, self.head = copies[top["embed"]], copies[top["norm"]], copies[top["head"]]

    def start(self, prompts: Sequence[Sequence[int]], rows: Tensor, room: int) -> tuple[Tensor, LlamaWave]:
        """Reads each prompt once, and what all begin with once for all; spreads them over their rows.

        ``rows`` [R] says which prompt a row continues, ``room`` how many tokens it may add. Returns the
        logits [R, V] of each row's next token and what continues from there.
        """
        shared = _shared(prompts)
        none = torch.empty(
            (len(self.layers), 2, 1, self.key_heads, 0, self.width), dtype=self.dtype, device=self.device
        )
        before = self._read(*left_padded([prompts[0][:shared]], self.device), none)[1] if shared else none
        tokens, real = left_padded([prompt[shared:] for prompt in prompts], self.device)
        x, read = self._read(tokens, real, before)
        used = read.shape[4]
        cache = read.new_empty((len(self.layers), 2, len(rows), self.key_heads, used + room, self.width))
        cache[..., :used, :] = read.index_select(2, rows)
        hidden = torch.zeros(len(rows), used + room, dtype=torch.bool, device=self.device)
        hidden[:, shared:used] = ~real[rows]
        return self._logits(x)[rows], LlamaWave(self, cache, hidden, used)

    def _read(self, tokens: Tensor, real: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Reads tokens [P, S] after what is ``before`` [L, 2, 1, K, N, E], the same for all.

        Returns the last hidden states [P, D] and the cache [L, 2, P, K, N + S, E].
        """
        (count, width), past = tokens.shape, before.shape[4]
        positions = past + (real.cumsum(-1) - 1).clamp_min(0)
        cos, sin = self.cos[positions][:, :, None], self.sin[positions][:, :, None]  # [P, S, 1, E]
        causal = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        # Padding attends to itself, so that no row of the softmax is empty.
        itself = torch.eye(width, dtype=torch.bool, device=self.device)
        mask = F.pad((causal & real[:, None, :]) | itself, (past, 0), value=True)[:, None]  # [P, 1, S, N + S]
        x, cache = self.embed[tokens], []
        for layer, kept in zip(self.layers, before, strict=True):
            q, k, v = (part.transpose(1, 2) for part in self._qkv(layer, x, cos, sin))
            k, v = (
                torch.cat((old.expand(count, -1, -1, -1), new), 2)
                for old, new in zip(kept, (k, v), strict=True)
            )
            y = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, enable_gqa=self.heads != self.key_heads
            )
            x = self._rest(layer, x, y.transpose(1, 2).reshape(count, width, -1))
            cache.append(torch.stack((k, v)))
        return x[:, -1], torch.stack(cache)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.eps)

    def _qkv(self, layer: _Layer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [..., H, E] and keys [..., K, E], both rotated, and values [..., K, E] from x [..., D]."""
        fused = F.linear(self._normed(x, layer.first_norm), layer.qkv)
        fused = fused.view(*x.shape[:-1], self.heads + 2 * self.key_heads, self.width)
        turned, v = fused.split((self.heads + self.key_heads, self.key_heads), -2)
        turned = turned * cos + turned.roll(self.width // 2, -1) * sin
        q, k = turned.split((self.heads, self.key_heads), -2)
        return q, k, v

    def _rest(self, layer: _Layer, x: Tensor, attended: Tensor) -> Tensor:
        x = x + F.linear(attended, layer.out)
        gate, up = F.linear(self._normed(x, layer.second_norm), layer.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, layer.down)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self._normed(x, self.norm), self.head)


class LlamaWave:
    """Rows under way: their cache [L, 2, R, K, S, E] and how far each has come."""

    def __init__(self, decoder: LlamaDecoder, cache: Tensor, hidden: Tensor, used: int) -> None:
        self.decoder = decoder
        self.cache = cache
        self.used = used  # columns
        self.lengths = used - hidden.sum(-1)  # [R] tokens so far, padding not counted
        self.mask = torch.zeros(hidden.shape, dtype=cache.dtype, device=cache.device)  # [R, S]
        self.mask.masked_fill_(hidden, torch.finfo(cache.dtype).min)

    def step(self, tokens: Tensor) -> Tensor:
        """Appends tokens [R]; the logits [R, V] of what follows."""
        d, rows, now = self.decoder, len(tokens), self.used
        cos, sin = d.cos[self.lengths][:, None], d.sin[self.lengths][:, None]  # [R, 1, E]
        mask = self.mask[:, None, None, : now + 1]
        x = d.embed[tokens]
        for layer, (keys, values) in zip(d.layers, self.cache, strict=True):
            q, k, v = d._qkv(layer, x, cos, sin)
            keys[:, :, now], values[:, :, now] = k, v
            # The query heads that share a key head stand where a sequence would: [R, K, H / K, E].
            q = q.reshape(rows, d.key_heads, -1, d.width)
            y = F.scaled_dot_product_attention(
                q, keys[:, :, : now + 1], values[:, :, : now + 1], attn_mask=mask
            )
            x = d._rest(layer, x, y.reshape(rows, -1))
        self.used += 1
        self.lengths = self.lengths + 1
        return d._logits(x)

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these [R']."""
        layers, _, _, *rest = self.cache.shape
        kept = self.cache.new_empty((layers, 2, len(rows), *rest))
        kept[..., : self.used, :] = self.cache[..., : self.used, :].index_select(2, rows)
        self.cache = kept
        self.lengths, self.mask = self.lengths[rows], self.mask[rows]
