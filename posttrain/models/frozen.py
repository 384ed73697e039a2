"""A trunk that never learns, held in fewer bits than float32: what a LoRA role stands on.

Matrices and the embedding are held short; norms, biases, adapters and heads (a tied embedding is a head) stay
as they were. A matrix is opened at each use, forward and backward, so no opened one is kept between. What is
read, and the gradient that passes through, is that of the held numbers, to the bit.

``bfloat16`` keeps a checkpoint that was published in it exactly. Other numbers, such as those of an earlier
stage's product, are rounded up or down by chance, so that the mean is kept (stochastic rounding, Gupta et al.
2015): the nearest of the 8 bits would be the number before that stage, and a small update would vanish whole.
``int8`` is 127 steps of each row's largest number, ``nf4`` bitsandbytes' (Dettmers et al. 2023): 4 bits,
blocks of 64.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast, get_args
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import HeldIn

READ_IN = torch.float32  # what an opened number is, where no shorter product is asked for
_STEPS = 127
_MOST = (
    0.3  # relative error of a matrix; of 4 bits it is 0.09. bitsandbytes 0.50 fails so with tiny ones on CPUs
)


def check_trunk(kind: str) -> None:
    """Raises UserError for a type that is not there, with the command that installs it."""
    if kind not in get_args(HeldIn):
        raise UserError(f"lora.trunk={kind!r}: expected {', '.join(get_args(HeldIn))}")
    if kind == "nf4" and "bitsandbytes" not in sys.modules and not importlib.util.find_spec("bitsandbytes"):
        raise UserError(
            "lora.trunk=nf4 needs bitsandbytes: pip install 'posttrain[bitsandbytes]'; bfloat16 and int8 "
            "need nothing more"
        )


@cache
def _bitsandbytes() -> Any:
    with patch.dict(sys.modules, {"kernels": None}):  # type: ignore[dict-item]  # it would fetch from the hub
        return importlib.import_module("bitsandbytes.functional")


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, held: _Held) -> Tensor:  # type: ignore[override]
        ctx.held = held
        bias = None if held.bias is None else held.bias.to(x.dtype)
        return F.linear(x, held.matrix(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] @ ctx.held.matrix(grads[0].dtype), None


class _Held(nn.Module):
    """What the modules below have in common; ``_store`` and ``_parts`` are those of one way to hold."""

    bias: Tensor | None
    across = False  # stored as [in, out]
    parts: tuple[str, ...] = ()  # names of the tensors it is held in

    def opened(self) -> Tensor:
        """Its numbers in float32, as the plain module stores them."""
        raise NotImplementedError

    def matrix(self, kind: torch.dtype) -> Tensor:
        """[out, in]"""
        weight = self.opened().to(kind)
        return weight.T if self.across else weight

    def forward(self, x: Tensor) -> Tensor:
        device = x.device.type
        short = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            return _Product.apply(x.to(short), self)  # type: ignore[no-any-return]


class _HeldShort(_Held):
    parts = ("weight",)
    weight: nn.Parameter

    def opened(self) -> Tensor:
        return self.weight.to(READ_IN)

    def matrix(self, kind: torch.dtype) -> Tensor:
        weight = self.weight.to(kind)
        return weight.T if self.across else weight

    def store(self, weight: Tensor, device: str, seed: int) -> None:
        self.weight = nn.Parameter(_rounded(weight, seed).to(device), requires_grad=False)


class _HeldInt8(_Held):
    parts = ("weight_int8", "weight_step")
    weight_int8: Tensor
    weight_step: Tensor

    @property
    def weight(self) -> Tensor:
        return self.opened()

    def opened(self) -> Tensor:
        return self.weight_int8.to(READ_IN) * self.weight_step

    def store(self, weight: Tensor, device: str, seed: int) -> None:
        weight = weight.to(device, READ_IN)
        step = weight.abs().amax(0 if self.across else 1, keepdim=True).clamp_min(1e-30) / _STEPS
        del self._parameters["weight"]
        self.register_buffer("weight_int8", (weight / step).round().to(torch.int8))
        self.register_buffer("weight_step", step)


class _HeldNF4(_Held):
    parts = ("weight_nf4",)
    weight_nf4: Tensor
    state: Any

    @property
    def weight(self) -> Tensor:
        return self.opened()

    def opened(self) -> Tensor:
        return _bitsandbytes().dequantize_4bit(self.weight_nf4, self.state)  # type: ignore[no-any-return]

    def store(self, weight: Tensor, device: str, seed: int) -> None:
        held, state = _bitsandbytes().quantize_4bit(
            weight.to(device, READ_IN).contiguous(), quant_type="nf4", compress_statistics=True
        )
        del self._parameters["weight"]
        self.register_buffer("weight_nf4", held)
        self.state = state


class _HeldWords(nn.Embedding):
    """An embedding in bfloat16, whose rows are read in float32."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).to(READ_IN)


_WAYS: dict[str, type[_Held]] = {"bfloat16": _HeldShort, "int8": _HeldInt8, "nf4": _HeldNF4}


@cache
def _kind(way: type[_Held], kind: type[nn.Module]) -> type[nn.Module]:
    """A module of ``kind`` that is held that way."""
    return type(kind.__name__, (way, kind), {"__module__": kind.__module__, "plain": kind})


def hold(model: PreTrainedModel, trunk: HeldIn, device: str, again: Callable[[], PreTrainedModel]) -> float:
    """Holds the trunk of ``model`` in that type and moves the model to ``device``; by how much its matrices
    and embedding moved, relative to their size (root mean square). ``again`` loads the model as it was: what
    is saved is that with the adapter folded in (``scalar_files.as_it_was``).
    """
    away, size = 0.0, 0.0
    way = _WAYS[trunk]
    head, words = model.get_output_embeddings(), model.get_input_embeddings()
    tied = None if head is None else head.weight
    model.requires_grad_(False)
    for path, module in model.base_model.named_modules():
        of_words = module is words and type(module) is nn.Embedding  # others scale what they read
        if not (isinstance(module, nn.Linear | Conv1D) or of_words) or module.weight is tied:
            continue
        before = module.weight.detach()
        if of_words:
            module.__class__ = _HeldWords
            module.weight = nn.Parameter(_rounded(before, _seed(path)).to(device), requires_grad=False)
            after = module.weight.to(READ_IN)
        else:
            plain = type(module)
            module.__class__ = _kind(way, plain)  # type: ignore[arg-type]
            module.across = isinstance(module, Conv1D)
            module.store(before, device, _seed(path))
            after = module.opened()
        off, here = float((after.cpu() - before).square().sum()), float(before.square().sum())
        if off > (_MOST * _MOST) * here:
            raise UserError(
                f"lora.trunk={trunk}: {path} came back {(off / here) ** 0.5:.2f} of its size away from what "
                f"was given, expected at most {_MOST}; use lora.trunk=bfloat16, which has no such error"
            )
        away, size = away + off, size + here
    model.base_model._held = trunk  # type: ignore[assignment]
    model._again = again  # type: ignore[assignment]
    model.to(device)  # type: ignore[arg-type]  # transformers wraps it
    return float((away / max(size, 1e-30)) ** 0.5)


def reads_in(model: PreTrainedModel) -> torch.dtype:
    """The type that a model or trunk computes in: that of its weights, or of its opened ones."""
    kind = cast(nn.Embedding, model.get_input_embeddings()).weight.dtype
    return torch.promote_types(kind, READ_IN) if getattr(model.base_model, "_held", None) else kind


def tensors(model: PreTrainedModel) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """The tensors of a model as the plain model names them, each opened when it is asked for."""
    held = {path: m for path, m in model.named_modules(remove_duplicate=False) if isinstance(m, _Held)}
    wide = getattr(model.base_model, "_held", None) is not None
    for name, tensor in model.state_dict().items():
        path, _, last = name.rpartition(".")
        module = held.get(path)
        if module is None or last not in module.parts:
            yield name, (lambda t=tensor: t.to(READ_IN) if wide and t.dtype == torch.bfloat16 else t)  # type: ignore[misc]
        elif last == module.parts[0]:
            yield f"{path}.weight", module.opened


def opened_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy with plain modules: what generates by transformers' own forward."""
    made = copy.deepcopy(model)
    for module in made.modules():
        one: Any = module
        if isinstance(module, _Held):
            weight = module.opened()
            for name in module.parts:
                module._parameters.pop(name, None)
                module._buffers.pop(name, None)
            one.__class__ = one.plain
            one.weight = nn.Parameter(weight, requires_grad=False)
        elif isinstance(module, _HeldWords):
            one.__class__ = nn.Embedding
            one.weight = nn.Parameter(module.weight.to(READ_IN), requires_grad=False)
    return made


def _seed(path: str) -> int:
    return zlib.crc32(path.encode())


def _rounded(weight: Tensor, seed: int) -> Tensor:
    """In bfloat16, each number up or down by chance so that its mean is kept; exact where it has 8 bits."""
    near = weight.to(torch.bfloat16)
    if torch.equal(near.to(weight.dtype), weight):
        return near
    bits = weight.detach().to("cpu", torch.float32).contiguous().view(torch.int32)
    generator = torch.Generator().manual_seed(seed)
    low = torch.randint(0, 1 << 16, bits.shape, generator=generator, dtype=torch.int32)
    return ((bits + low) & -(1 << 16)).view(torch.float32).to(torch.bfloat16)
