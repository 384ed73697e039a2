"""Llama's family of decoder layers: norm, gate and rotation in fewer passes than transformers makes.

A module stays what it is, with its weights, names and hooks; its class becomes one that does the same by
``kernels/layers.c`` where the numbers are float32 on a CPU and the C file was compiled, and by transformers'
own code everywhere else. Matrices multiply by ``kernels.matmul``.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from posttrain.kernels import layers
from posttrain.kernels.matmul import linear
from posttrain.models.packed_attention import attend, line


class _FastLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _FastNorm(nn.Module):
    weight: nn.Parameter
    variance_epsilon: float
    before_matmul = False  # if so, its output may be in the matrix product's shorter type

    def forward(self, x: Tensor) -> Tensor:
        if not layers.compiled() or not layers.supported(x):
            return super().forward(x)  # type: ignore[misc, no-any-return]
        if not x.dtype == self.weight.dtype == torch.float32:
            return super().forward(x)  # type: ignore[misc, no-any-return]
        dtype = x.dtype
        if self.before_matmul and torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
        if dtype not in layers.DTYPES:
            return super().forward(x)  # type: ignore[misc, no-any-return]
        return layers.rms_norm(x, self.weight, self.variance_epsilon, dtype)


class _FastGate(nn.Module):
    gate_proj: nn.Module
    up_proj: nn.Module
    down_proj: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if not layers.compiled():
            return super().forward(x)  # type: ignore[misc, no-any-return]
        gate, up = self.gate_proj(x), self.up_proj(x)
        fast = layers.supported(gate, up) and gate.dtype == up.dtype
        inner = layers.silu_gate(gate, up) if fast else nn.functional.silu(gate) * up
        return self.down_proj(inner)  # type: ignore[no-any-return]


class _FastAttention(nn.Module):
    """For lines of rows alone, where attention is ``packed_attention``'s whatever the model says."""

    head_dim: int
    scaling: float
    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    o_proj: nn.Module

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: object = None,
        **others: object,
    ) -> tuple[Tensor, Tensor | None]:
        x, angles = hidden_states, position_embeddings
        fast = layers.compiled() and line() is not None and past_key_values is None
        if not fast or angles is None or angles[0].dtype != torch.float32 or not layers.supported(x):
            return super().forward(x, angles, attention_mask, past_key_values, **others)  # type: ignore[misc, no-any-return]
        cos, sin = (angle[0].contiguous() for angle in angles)
        q, k, v = (
            project(x)[0].unflatten(-1, (-1, self.head_dim))
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = (layers.rotate(one, cos, sin) for one in (q, k))
        q, k, v = (one.transpose(0, 1)[None] for one in (q, k, v))
        out, _ = attend(self, q, k, v, None, scaling=self.scaling)
        return self.o_proj(out.flatten(-2)), None


_NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
_GATES = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"}
_ATTENTIONS = {"LlamaAttention", "MistralAttention", "Qwen2Attention"}
_BEFORE_MATMUL = {"input_layernorm", "post_attention_layernorm"}


@cache
def _mixed(first: type[nn.Module], kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (first, kind), {"__module__": kind.__module__})


def use_fast_kernels(trunk: nn.Module) -> None:
    """Replaces the classes of a trunk's modules by faster equivalents, once for each trunk.

    Weights, names and hooks stay.
    """
    if not isinstance(trunk, nn.Module) or getattr(trunk, "_uses_fast_kernels", False):
        return
    is_silu = getattr(getattr(trunk, "config", None), "hidden_act", None) == "silu"
    for path, module in trunk.named_modules():
        kind = type(module)
        name = kind.__name__
        of_transformers = kind.__module__.startswith("transformers.models.")
        if kind is nn.Linear:
            module.__class__ = _FastLinear
        elif of_transformers and name in _NORMS:
            module.__class__ = _mixed(_FastNorm, kind)  # type: ignore[arg-type]
            module.before_matmul = path.rpartition(".")[2] in _BEFORE_MATMUL  # type: ignore[assignment]
        elif of_transformers and name in _GATES and is_silu:
            module.__class__ = _mixed(_FastGate, kind)  # type: ignore[arg-type]
        elif of_transformers and name in _ATTENTIONS:
            module.__class__ = _mixed(_FastAttention, kind)  # type: ignore[arg-type]
    trunk._uses_fast_kernels = True  # type: ignore[assignment]
