"""What decoder layers of Llama's family do between their products, in fewer passes than transformers do it.

A module stays what it is, with its weights, names and hooks; its class becomes one that does the same by
layers.c where the numbers are float32 on a CPU and the C file was compiled, and by transformers' own code
everywhere else. Matrices multiply by ``core.products``. Beside the time, less is kept for the backward pass:
of the norm its input and a number a row, of the gate its two inputs.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from posttrain.compiled import kernel_path, library
from posttrain.core.products import product
from posttrain.models.packed_attention import attend, line

VERSION = 1  # as in layers.c
_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
_HALF = {torch.float32: 0, torch.bfloat16: 1}


@cache
def _library() -> Any:
    functions = {
        "posttrain_norm_forward": [*[_POINTER] * 4, _LONG, _LONG, _FLOAT, _INT],
        "posttrain_norm_backward": [*[_POINTER] * 6, _LONG, _LONG, _INT],
        "posttrain_gate_forward": [*[_POINTER] * 3, _LONG, _INT],
        "posttrain_gate_backward": [*[_POINTER] * 5, _LONG, _INT],
        "posttrain_turn": [*[_POINTER] * 4, _LONG, _LONG, _LONG, _INT, _INT],
    }
    return library("posttrain.models._layers", VERSION, functions, kernel_path())


def _at(*tensors: Tensor | None) -> list[int | None]:
    return [None if x is None else x.data_ptr() for x in tensors]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, kind: torch.dtype) -> Tensor:  # type: ignore[override]
        x, weight = x.contiguous(), weight.contiguous()
        width = x.shape[-1]
        out, factors = torch.empty_like(x, dtype=kind), x.new_empty(x.numel() // width)
        _library().posttrain_norm_forward(
            *_at(x, weight, out, factors), len(factors), width, eps, _HALF[kind]
        )
        ctx.save_for_backward(x, weight, factors)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, factors = ctx.saved_tensors
        g = grads[0].contiguous()
        by_x = torch.empty_like(x)
        by_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        failed = _library().posttrain_norm_backward(
            *_at(g, x, weight, factors, by_x, by_weight), len(factors), x.shape[-1], _HALF[g.dtype]
        )
        if failed:
            raise MemoryError("no memory for the gradient of a norm")
        return by_x, by_weight, None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:  # type: ignore[override]
        gate, up = gate.contiguous(), up.contiguous()
        out = torch.empty_like(gate)
        _library().posttrain_gate_forward(*_at(gate, up, out), out.numel(), _HALF[out.dtype])
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        gate, up = ctx.saved_tensors
        by_gate, by_up = torch.empty_like(gate), torch.empty_like(up)
        _library().posttrain_gate_backward(
            *_at(grads[0].contiguous(), gate, up, by_gate, by_up), gate.numel(), _HALF[gate.dtype]
        )
        return by_gate, by_up


def _turned(x: Tensor, cos: Tensor, sin: Tensor, back: bool) -> Tensor:
    rows, heads, width = x.shape
    x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    _library().posttrain_turn(*_at(x, cos, sin, out), rows, heads, width, back, _HALF[x.dtype])
    return out


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, sin, True), None, None


def _plain(*tensors: Tensor) -> bool:
    return all(x.device.type == "cpu" and x.dtype in _HALF for x in tensors)


class _QuickLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.weight, self.bias)


class _QuickNorm(nn.Module):
    weight: nn.Parameter
    variance_epsilon: float
    before_products = False  # then what comes out may be as short as they are

    def forward(self, x: Tensor) -> Tensor:
        if _library() is None or not _plain(x) or not x.dtype == self.weight.dtype == torch.float32:
            return super().forward(x)  # type: ignore[misc, no-any-return]
        kind = x.dtype
        if self.before_products and torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
        if kind not in _HALF:
            return super().forward(x)  # type: ignore[misc, no-any-return]
        return _Norm.apply(x, self.weight, self.variance_epsilon, kind)  # type: ignore[no-any-return]


class _QuickGate(nn.Module):
    gate_proj: nn.Module
    up_proj: nn.Module
    down_proj: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if _library() is None:
            return super().forward(x)  # type: ignore[misc, no-any-return]
        gate, up = self.gate_proj(x), self.up_proj(x)
        known = _plain(gate, up) and gate.dtype == up.dtype
        inner = _Gate.apply(gate, up) if known else nn.functional.silu(gate) * up
        return self.down_proj(inner)  # type: ignore[no-any-return]


class _QuickAttention(nn.Module):
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
        past_key_values: Any = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor | None]:
        x, around = hidden_states, position_embeddings
        known = _library() is not None and line() is not None and past_key_values is None
        if not known or around is None or around[0].dtype != torch.float32 or not _plain(x):
            return super().forward(x, around, attention_mask, past_key_values, **others)  # type: ignore[misc, no-any-return]
        cos, sin = (turn[0].contiguous() for turn in around)
        q, k, v = (
            made(x)[0].unflatten(-1, (-1, self.head_dim)) for made in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = (_Turn.apply(one, cos, sin) for one in (q, k))
        q, k, v = (one.transpose(0, 1)[None] for one in (q, k, v))
        out, _ = attend(self, q, k, v, None, scaling=self.scaling)
        return self.o_proj(out.flatten(-2)), None


_NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}
_GATES = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"}
_ATTENTIONS = {"LlamaAttention", "MistralAttention", "Qwen2Attention"}
_BEFORE_PRODUCTS = {"input_layernorm", "post_attention_layernorm"}


@cache
def _mixed(first: Any, kind: Any) -> Any:
    return type(kind.__name__, (first, kind), {"__module__": kind.__module__})


def quicken(trunk: Any) -> None:
    """Make the modules of a trunk do in fewer passes what they do; once a trunk. Nothing else about them
    changes.
    """
    if not isinstance(trunk, nn.Module) or getattr(trunk, "_quickened", False):
        return
    silent = getattr(getattr(trunk, "config", None), "hidden_act", None) == "silu"
    for path, module in trunk.named_modules():
        kind: Any = type(module)
        name = kind.__name__
        own = kind.__module__.startswith("transformers.models.")
        if kind is nn.Linear:
            module.__class__ = _QuickLinear
        elif own and name in _NORMS:
            module.__class__ = _mixed(_QuickNorm, kind)
            module.before_products = path.rpartition(".")[2] in _BEFORE_PRODUCTS  # type: ignore[assignment]
        elif own and name in _GATES and silent:
            module.__class__ = _mixed(_QuickGate, kind)
        elif own and name in _ATTENTIONS:
            module.__class__ = _mixed(_QuickAttention, kind)
    trunk._quickened = True  # type: ignore[assignment]
