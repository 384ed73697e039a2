"""The supervised loop: instruction tuning, reward models, direct alignment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.core.batch import DirectAlignment, RewardLoss
from posttrain.core.seeds import derive
from posttrain.training.in_slices import in_slices
from posttrain.training.optimizer import Optimizer
from posttrain.training.rl_loop import STEP
from posttrain.training.rollout_metrics import ROWS_LEARNED, TOKENS
from posttrain.training.update import Part, cut, update


@dataclass
class FitState:
    """Where the loop is; whole whenever it yields."""

    step: int = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.step = state["step"]


@dataclass(frozen=True)
class Epochs:
    """Which rows each step reads: all rows once an epoch, in an order derived from the seed; the rest of an
    epoch is a smaller batch, never dropped. Rows with the same number in ``together`` follow each other."""

    rows: int
    batch_size: int
    seed: int
    epochs: int = 1
    together: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.rows < 1 or self.batch_size < 1 or self.epochs < 1:
            raise ValueError(f"{self}: rows, batch_size and epochs are at least 1")

    @property
    def per_epoch(self) -> int:
        """Steps in one epoch."""
        return -(-self.rows // self.batch_size)

    @property
    def steps(self) -> int:
        """Steps in all epochs."""
        return self.per_epoch * self.epochs

    def at(self, step: int) -> list[int]:
        """The rows of one step."""
        epoch, batch = divmod(step, self.per_epoch)
        generator = torch.Generator().manual_seed(derive(self.seed, "epoch", epoch))
        order = torch.randperm(self.rows, generator=generator)
        if self.together is not None:
            block = torch.tensor(self.together)
            turn = torch.randperm(int(block.max()) + 1, generator=generator)
            order = order[turn[block[order]].argsort(stable=True)]
        return order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()


def fit(
    state: FitState,
    forward: Callable[[Any], Any],
    method: DirectAlignment | RewardLoss,
    batches: Callable[[int], Any],
    optimizer: Optimizer,
    *,
    steps: int,
    micro_batch_tokens: int = 8192,
) -> Iterator[dict[str, float]]:
    """Updates on ``batches(step)`` until ``state.step`` is ``steps``; yields after every update.

    At every yield ``state`` is complete.

    Args:
        forward: of a slice of a batch: an Evaluation, or scores [B, T]. batches: of a step: PreferenceBatch
        rows (``preferences.wanted``, ``preferences.ranked``). The same step gives the same rows, so a loop
        that was stopped continues to the same result.

    Yields:
        The terms of the loss by name, ``loss``, ``step`` (updates done), ``rows``, ``tokens`` (supervised),
        gradient norms and learning rates.
    """
    while state.step < steps:
        batch = batches(state.step)
        if method.wants.measure:
            slices = cut(batch.rollouts, micro_batch_tokens, method.wants.whole_groups)
            batch = method.measure(in_slices(forward, batch, slices), batch)  # type: ignore[union-attr]
        part = Part(batch, forward, method.loss, whole_groups=method.wants.whole_groups)
        metrics = update(optimizer, [part], micro_batch_tokens)
        state.step += 1
        tokens = int(batch.rollouts.action_mask.sum())
        yield {
            STEP.name: state.step,
            ROWS_LEARNED.name: len(batch.rollouts),
            TOKENS.name: tokens,
            **metrics,
        }
