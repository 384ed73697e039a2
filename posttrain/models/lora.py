"""Low-rank adapters (Hu et al. 2021): several on one trunk, chosen by the forward that uses them.

``peft`` keeps the active adapter in the modules; two forwards of one graph, or a recomputation under activation
checkpointing, then meet the wrong one. Here the choice belongs to the call: ``wearing(name)`` surrounds a forward, and
the checkpointing of ``checkpoint_activations`` takes the choice along to the recomputation. Files are peft's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch.utils.checkpoint import checkpoint

_worn: ContextVar[str | None] = ContextVar("worn adapter", default=None)


@contextmanager
def wearing(adapter: str | None) -> Iterator[None]:
    """Forwards inside use the adapter of that name; None means the bare trunk."""
    token = _worn.set(adapter)
    try:
        yield
    finally:
        _worn.reset(token)


def worn() -> str | None:
    """The adapter of the forward that is running."""
    return _worn.get()


def _recompute(function: Callable[..., Any], *inputs: Any) -> Any:
    adapter = worn()  # the backward pass runs outside of ``wearing``, perhaps on another thread

    def again(*values: Any) -> Any:
        with wearing(adapter):
            return function(*values)

    return checkpoint(again, *inputs, use_reentrant=False)


def checkpoint_activations(model: Any) -> None:
    """Keeps one activation per layer and recomputes the rest in the backward pass, with the right adapter."""
    model._set_gradient_checkpointing(enable=True, gradient_checkpointing_func=_recompute)
    model.train()  # transformers recomputes in training mode only; loading took the dropout out
