"""AdamW with parameter groups that have their own learning rate and clip norm, and a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from posttrain.metrics import declare_metric

GRAD_NORM = declare_metric(
    "grad_norm/{group}",
    "Norm of the gradient of the parameters of {group}, before clipping.",
    unit="norm",
    better="none",
)
LEARNING_RATE = declare_metric(
    "learning_rate/{group}",
    "Learning rate of the parameters of {group}, after warm-up and decay.",
    unit="per update",
    better="none",
)

Schedule = Callable[[int], float]  # updates done -> factor of the learning rate


def constant(warmup: int = 0) -> Schedule:
    """1 throughout, after ``warmup`` updates that rise to it."""
    return lambda step: min(1.0, (step + 1) / (warmup + 1))


def linear(total: int, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """From 1 after ``warmup`` updates straight down to ``floor`` at update ``total``."""
    rise = constant(warmup)
    return lambda step: rise(step) * (1 - (1 - floor) * _progress(step, total, warmup))


def cosine(total: int, warmup: int = 0) -> Schedule:
    """From 1 after ``warmup`` updates down to 0 at update ``total`` along half a cosine."""
    rise = constant(warmup)
    return lambda step: rise(step) * (1 + math.cos(math.pi * _progress(step, total, warmup))) / 2


def delayed(delay: int, warmup: int = 0) -> Schedule:
    """0 for ``delay`` updates, then 1 after ``warmup`` updates that rise to it."""
    rise = constant(warmup)
    return lambda step: 0.0 if step < delay else rise(step - delay)


def _progress(step: int, total: int, warmup: int) -> float:
    return min(max((step - warmup) / max(total - warmup, 1), 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters that share a learning rate and are clipped together."""

    name: str  # "policy", "critic"
    parameters: Sequence[Parameter]
    learning_rate: float
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    decay_to_start: float = (
        0.0  # as weight decay, but towards where the weights began (Li et al. 2018, L2-SP)
    )
    schedule: Schedule = field(default_factory=constant)  # of this group, times the optimizer's


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019) over named groups. Weights must be float32 or wider."""

    def __init__(
        self,
        groups: Iterable[Group],
        *,
        schedule: Schedule | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        self.groups = [g for g in groups if g.parameters]
        self.schedule = schedule or constant()
        self.steps = 0
        grouped: set[int] = set()
        for group in self.groups:
            if any(id(p) in grouped for p in group.parameters) or not group.learning_rate >= 0:
                raise ValueError(f"group {group.name!r} shares a parameter or has a negative learning rate")
            grouped.update(id(p) for p in group.parameters)
        self._adam = torch.optim.AdamW(
            [{"params": list(g.parameters), "weight_decay": g.weight_decay} for g in self.groups],
            lr=0.0,
            betas=betas,
            eps=eps,
            fused=all(p.device.type in ("cpu", "cuda") for g in self.groups for p in g.parameters),
        )

        self._starts = [
            [p.detach().clone() for p in g.parameters] if g.decay_to_start else [] for g in self.groups
        ]

    def zero(self) -> None:
        """Forget the gradients."""
        self._adam.zero_grad(set_to_none=True)

    def step(self, evidence: dict[str, float] | None = None) -> dict[str, float]:
        """Clips every group by its own norm, updates the parameters, clears the gradients.

        Returns:
            ``grad_norm/NAME`` (before clipping) and ``learning_rate/NAME`` of every group.

        Raises:
            FloatingPointError: a gradient is not finite; no parameter changed. The message has ``evidence``.
        """
        norms = [self._norm(group) for group in self.groups]
        sizes = torch.stack(norms).tolist()
        for group, size in zip(self.groups, sizes, strict=True):
            if not math.isfinite(size):
                raise FloatingPointError(
                    f"the gradient of {group.name} is {size} at update {self.steps}; terms: {evidence}. "
                    "A smaller learning rate, or float32 instead of a shorter type, usually mends this."
                )
        metrics: dict[str, float] = {}
        for group, norm, size, inner in zip(self.groups, norms, sizes, self._adam.param_groups, strict=True):
            if size > group.clip_norm:
                grads = [p.grad for p in group.parameters if p.grad is not None]
                torch._foreach_mul_(grads, group.clip_norm / norm)
            inner["lr"] = self._rate(group)
            metrics[GRAD_NORM.named(group=group.name)] = size
            metrics[LEARNING_RATE.named(group=group.name)] = inner["lr"]
        self._adam.step()
        self._decay_to_start()
        self.zero()
        self.steps += 1
        return metrics

    @torch.no_grad()
    def _decay_to_start(self) -> None:
        """``w <- w - learning rate * decay_to_start * (w - start)``, decoupled from Adam's step."""
        for group, starts in zip(self.groups, self._starts, strict=True):
            rate = self._rate(group) * group.decay_to_start
            for weight, start in zip(group.parameters, starts, strict=False):
                weight.lerp_(start, min(rate, 1.0))

    def _rate(self, group: Group) -> float:
        return group.learning_rate * self.schedule(self.steps) * group.schedule(self.steps)

    def _norm(self, group: Group) -> Tensor:
        grads = [p.grad for p in group.parameters if p.grad is not None]
        if not grads:
            return group.parameters[0].new_zeros(())
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the same bits, the weights that it moves among it."""
        return {
            "steps": self.steps,
            "weights": {group.name: list(group.parameters) for group in self.groups},
            "adam": self._adam.state_dict(),
            "starts": self._starts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`. Raises ValueError or KeyError where it is of other groups."""
        self.steps = int(state["steps"])
        with torch.no_grad():
            for group in self.groups:
                for weight, saved in zip(group.parameters, state["weights"][group.name], strict=True):
                    weight.copy_(saved)
        self._adam.load_state_dict(state["adam"])
        for starts, stored in zip(self._starts, state["starts"], strict=True):
            for start, saved in zip(starts, stored, strict=True):
                start.copy_(saved)
