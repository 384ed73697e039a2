"""What making a product takes, stated once by its stage; operations, memory and seconds follow from it.

A stage returns a StageWork from ``Stage.work``: which models compute, over how many tokens, and what stands
in memory beside them. It names no machine; ``StageWork.estimate`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from posttrain.cost.sizes import ENGINE_ROWS, FLOAT, NO_TOKENS, PROCESS, Rows, Size, Tokens
from posttrain.pipeline.machine import Estimate, Machine

LOADED = 200_000_000  # bytes a second through loading, checking, writing and hashing
WRITTEN = 1e-4  # seconds a row takes to be made or read, checked and written
ROW = 2000  # bytes of a row in memory, its strings with it
PRODUCT = {"float32": 4, "bfloat16": 2}  # bytes a number of an engine's weights and of its cache
CACHE = 1 << 30  # bytes of keys and values that an engine holds at most
ADAM = 3  # floats beside each weight that learns: its gradient and two means of Adam


class AdapterShape(Protocol):
    """What memory depends on of a ``Lora``."""

    @property
    def rank(self) -> int: ...
    @property
    def trunk(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ModelWork:
    """What one model does in a stage. Passes that go to its own weights as they came, with its adapters left
    out, are among its ``read`` ones.

    One that learns has ``learned`` tokens; one that an engine samples from has ``sampled`` ones, those of
    prompts and answers. ``depth`` is the share of its layers that are read.
    """

    size: Size
    sampled: Tokens = NO_TOKENS
    read: Tokens = NO_TOKENS
    learned: Tokens = NO_TOKENS
    depth: float = 1.0
    adapters: AdapterShape | None = None

    @property
    def tokens(self) -> float:
        """Tokens that go through the model, each as often as it does."""
        return self.sampled.trunk + self.read.trunk + self.learned.trunk

    @property
    def operations(self) -> float:
        """A forward pass is one reading; a backward pass is two, with adapters one: they need the gradient of
        what a layer reads, and hardly any of its weights.
        """
        backward = 1.0 if self.adapters is not None else 2.0
        once = self.sampled + self.read + (1.0 + backward) * self.learned
        return self.size.operations(once, self.depth)

    def weights_bytes(self, compute: str) -> float:
        """Its weights, what learns with its gradient and optimizer state, and the copy that an engine samples
        from.
        """
        numbers = float(self.size.parameters)
        total = FLOAT * numbers if self.adapters is None else float(self.size.held(self.adapters.trunk))
        if self.learned.trunk:
            if self.adapters is None:
                total += FLOAT * ADAM * numbers
            else:
                total += FLOAT * (1 + ADAM) * self.size.adapters(self.adapters.rank)
        if self.sampled.trunk:
            merged = FLOAT * numbers if self.adapters is not None else 0.0  # what the engine is given
            total += PRODUCT[compute] * numbers + merged
        return total


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """The whole work of a stage.

    ``minibatch`` is the tokens of one update, of which a machine takes as many at once as a micro-batch
    holds. ``rows_sampled`` answers, of at most ``row_length`` tokens with their prompts, are asked of an
    engine at a time. ``seconds`` is of work that no model does, ``held_bytes`` of memory that none holds.
    ``product`` is what the product will have, for the estimates of what follows. ``examples`` is how many
    rows or answers the stage is about.
    """

    models: tuple[ModelWork, ...] = ()
    minibatch: float = 0.0
    rows_sampled: int = 0
    row_length: float = 0.0
    compute: str = "float32"
    seconds: float = 0.0
    held_bytes: float = 0.0
    product: Size | Rows | None = None
    examples: int = 0
    reinforces: bool = False

    @property
    def tokens(self) -> int:
        """Tokens that models read or write, each as often as one does."""
        return int(sum(model.tokens for model in self.models))

    @property
    def operations(self) -> float:
        """Floating-point, of all models."""
        return sum(model.operations for model in self.models)

    def peak_bytes(self, machine: Machine) -> int:
        """Of the process and every model at once, the engine's cache and the activations of a micro-batch."""
        total = PROCESS + self.held_bytes + sum(model.weights_bytes(self.compute) for model in self.models)
        at_once = min(float(machine.micro_batch_tokens), self.minibatch)
        learners = [model.size for model in self.models if model.learned.trunk]
        total += max((size.activations(at_once, machine.recompute) for size in learners), default=0.0)
        return int(total + self._cache())

    def estimate(self, machine: Machine) -> Estimate:
        """What all this takes on a machine; its seconds, where they follow from operations, are for the
        caller, who knows how many of them the machine makes in one.
        """
        return Estimate(
            tokens=self.tokens,
            seconds=self.seconds,
            operations=self.operations,
            bytes=self.peak_bytes(machine),
            expects={} if self.product is None else self.product.figures(),
            examples=self.examples,
            reinforces=self.reinforces,
        )

    def _cache(self) -> float:
        """Twice the keys and values of the rows under way: an engine of transformers copies them as rows
        leave.
        """
        sampled = [model.size for model in self.models if model.sampled.trunk]
        numbers = max((size.layers * size.cached for size in sampled), default=0)
        under_way = min(self.rows_sampled, ENGINE_ROWS)
        return 2.0 * min(float(CACHE), PRODUCT[self.compute] * numbers * under_way * self.row_length)


def model_written(size: Size) -> StageWork:
    """Of loading a model, checking it and writing it down again."""
    weights = FLOAT * size.parameters
    return StageWork(seconds=1 + weights / LOADED, held_bytes=2.0 * weights, product=size)


def rows_written(rows: Rows, seconds: float | None = None) -> StageWork:
    """Of writing rows that come from a file or a program, or from one that takes so many ``seconds``."""
    count = rows.rows + rows.heldout_rows
    return StageWork(
        seconds=WRITTEN * count if seconds is None else seconds, held_bytes=float(ROW * count), product=rows
    )
