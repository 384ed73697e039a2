"""Where a run happens, and what a stage will ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from posttrain.storage.unfinished import KEEP_LAST, SAVE_SECONDS, SAVE_STEPS, Scratch


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how a run happens. It never counts in a fingerprint: no result may depend on it in
    meaning.
    """

    device: str = "cpu"
    threads: int | None = None
    micro_batch_tokens: int = 8192
    recompute: bool = False  # activations in the backward pass, in place of keeping them
    quiet: bool = False
    workspace: Path | None = None  # set by run(); a stage may keep downloads under workspace / "cache"
    speed: Callable[[], float] | None = None  # measures float32 matrix products, operations a second
    free: Callable[[], int] | None = None  # bytes of memory that can be had now; 0 where nobody tells
    note: Callable[[Callable[[], str]], None] | None = None  # set by run(): how far a stage is, if asked
    scratch: Scratch | None = None  # set by run() for each stage: its unfinished work
    save_seconds: float = SAVE_SECONDS  # between checkpoints
    save_steps: int = SAVE_STEPS  # updates between checkpoints; 0 counts none
    keep_last: int = KEEP_LAST  # checkpoints of a stage


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What making a product will take on this machine; zero is unknown.

    ``expects`` is what the product will say of itself, as far as what follows needs it for its own estimate:
    see ``posttrain.cost.sizes``.
    """

    tokens: int = 0  # read or written by a model
    seconds: float = 0.0  # where it does not follow from ``operations``
    operations: float = 0.0  # floating-point
    bytes: int = 0  # peak memory
    expects: Mapping[str, float | int | str] = field(default_factory=dict)
    examples: int = 0  # rows or answers that the stage is about
    reinforces: bool = False  # it learns from answers that it samples


class Work(Protocol):
    """What a stage does, whatever the machine: ``posttrain.cost.work.StageWork`` is one."""

    def estimate(self, machine: Machine) -> Estimate: ...
