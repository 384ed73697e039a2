"""Low-rank adapters (Hu et al. 2021): several on one trunk, chosen by the forward that uses them.

``peft`` keeps the active adapter in the modules; two forwards of one graph, or a recomputation under
activation checkpointing, then meet the wrong one. Here the choice belongs to the call:
``use_adapter(adapter)`` surrounds a forward, and the checkpointing of ``checkpoint_activations`` takes the
choice along to the recomputation. The trunk keeps its own tensors and names, so it is saved as the plain
model it is; adapters are saved as peft directories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from posttrain.models.frozen import check_trunk, tensors
from posttrain.models.loading import without_dropout
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import HeldIn, later


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Settings of an adapter: ``W x + (alpha / rank) B A x`` on the matrices whose last name
    is in ``targets``.

    No targets means every matrix of the trunk (Dettmers et al. 2023, section 4). ``trunk`` is the type in
    which the trunk's frozen matrices are held (``models.frozen``). Raises UserError for a rank or alpha that
    is not positive, and for a type that is not available here.
    """

    rank: int = 16
    """Rank of the adapter matrices; larger learns more and costs more memory (Hu et al. 2021)."""
    alpha: float = 32.0
    """Scale of the adapter, which counts alpha / rank; larger moves the weights further per update."""
    targets: tuple[str, ...] = ()
    """Last names of the matrices that get an adapter, such as ``[q_proj, v_proj]``; ``[]`` takes all."""
    trunk: HeldIn = later("float32")
    """Number format of the frozen matrices; nf4 takes an eighth of float32's memory (Dettmers 2023)."""

    def __post_init__(self) -> None:
        check_trunk(self.trunk)
        if self.rank < 1 or not self.alpha > 0:
            raise UserError(f"lora rank={self.rank}, alpha={self.alpha}: both must be positive.")


class Adapter(nn.Module):
    """The low-rank matrices of one role. A is [rank, in], drawn as peft draws it; B is [out, rank], zero
    at first, so that a new adapter changes nothing, to the bit. Held in at least float32. It is used by a
    trunk that ``attach`` was called on.
    """

    def __init__(self, trunk: nn.Module, settings: Lora, *, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.scale = settings.alpha / settings.rank
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        generator = torch.Generator().manual_seed(seed)
        for path, module in _matrices(trunk, settings.targets):
            out, wide = _shape(module)
            weight: Tensor = module.weight  # type: ignore[assignment]
            dtype = torch.promote_types(weight.dtype, torch.float32)
            # kaiming_uniform_ with a = sqrt(5) is uniform within 1 / sqrt(in)
            uniform = torch.rand(settings.rank, wide, generator=generator, dtype=torch.float64) * 2 - 1
            self.A[path.replace(".", "/")] = nn.Parameter((uniform / wide**0.5).to(weight.device, dtype))
            self.B[path.replace(".", "/")] = nn.Parameter(
                torch.zeros(out, settings.rank, dtype=dtype, device=weight.device)
            )

    def add(self, key: str, x: Tensor, y: Tensor) -> Tensor:
        """``y + scale * B A x`` for one matrix; x is [..., in], y is [..., out]."""
        if key not in self.A:
            return y
        low = F.linear(x.to(self.A[key].dtype), self.A[key]) * self.scale
        flat = y.reshape(-1, y.shape[-1]).to(low.dtype)
        return torch.addmm(flat, low.reshape(-1, low.shape[-1]), self.B[key].T).view(y.shape).to(y.dtype)

    def change(self, key: str) -> Tensor:
        """``scale * B A``, [out, in]."""
        return (self.B[key] @ self.A[key]) * self.scale


_worn: ContextVar[Adapter | None] = ContextVar("worn adapter", default=None)


@contextmanager
def use_adapter(adapter: Adapter | None) -> Iterator[None]:
    """Forwards inside use the adapter; None means the bare trunk."""
    token = _worn.set(adapter)
    try:
        yield
    finally:
        _worn.reset(token)


def _matrices(trunk: nn.Module, targets: tuple[str, ...] = ()) -> list[tuple[str, nn.Module]]:
    matrices = [(path, m) for path, m in trunk.named_modules() if isinstance(m, nn.Linear | Conv1D)]
    names = {path.rpartition(".")[2] for path, _ in matrices}
    if unknown := sorted(set(targets) - names):
        raise UserError(f"lora targets {unknown}: the trunk has no such matrix; it has {sorted(names)}.")
    return [(path, m) for path, m in matrices if not targets or path.rpartition(".")[2] in targets]


def _shape(module: nn.Module) -> tuple[int, int]:
    weight: Tensor = module.weight  # type: ignore[assignment]
    out, wide = weight.shape if isinstance(module, nn.Linear) else weight.T.shape
    return int(out), int(wide)


def attach(trunk: nn.Module) -> None:
    """Every matrix asks, at each call, which adapter is in use. Once a matrix: trunks may share layers."""
    for path, module in _matrices(trunk):
        if getattr(module, "_asks_what_is_worn", False):
            continue
        module._asks_what_is_worn = True  # type: ignore[assignment]

        def ask(
            _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, key: str = path.replace(".", "/")
        ) -> Tensor:
            adapter = _worn.get()
            return output if adapter is None else adapter.add(key, inputs[0], output)

        module.register_forward_hook(ask)


def merged(model: PreTrainedModel, adapter: Adapter | None) -> Iterator[tuple[str, Tensor]]:
    """A model's weights with an adapter merged, under the model's names and in their order; no gradients.

    Weights without an adapter are not copied. The others are computed when accessed, and not stored.
    """
    changes = {} if adapter is None else {key.replace("/", "."): key for key in adapter.A}
    prefix = f"{model.base_model_prefix}."
    for name, opened in sorted(tensors(model), key=lambda item: item[0]):
        path = name.removeprefix(prefix).removesuffix(".weight")
        if adapter is None or path not in changes or not name.endswith(".weight"):
            yield name, opened()
            continue
        across = isinstance(model.get_submodule(name.removesuffix(".weight")), Conv1D)
        yield name, _changed(opened(), adapter, changes.pop(path), across)
    if changes:
        raise ValueError(f"the model has no matrix {sorted(changes)[0]} for its adapter")


@torch.no_grad()
def _changed(tensor: Tensor, adapter: Adapter, key: str, across: bool) -> Tensor:
    """A matrix with the adapter's change; ``across``: it is stored as [in, out]."""
    change = adapter.change(key).to(tensor.device)
    change = change.T if across else change
    return (tensor.to(change.dtype) + change).to(tensor.dtype)


def _recompute(function: Callable[..., object], *inputs: object) -> object:
    # the backward pass runs outside of ``wearing`` and of the line of rows, perhaps on another thread
    around = copy_context()
    return checkpoint(lambda *values: around.run(function, *values), *inputs, use_reentrant=False)


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Keeps one activation a layer and recomputes the rest in the backward pass, with the same adapter."""
    model._set_gradient_checkpointing(enable=True, gradient_checkpointing_func=_recompute)
    without_dropout(model).train()  # transformers recomputes in training mode only
