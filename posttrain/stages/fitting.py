"""What the stages that learn from records have in common: the loop with its bar and its log, and comparisons
as rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from posttrain.pipeline.stage import Machine

if TYPE_CHECKING:
    from posttrain.models.collate import Row


class Pair(NamedTuple):
    """What was compared, as tokens."""

    chosen: Row
    rejected: Row
    confidence: float = 1.0
    margin: float = 0.0  # how much better, as its annotators rated both


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How much is learned from ``rows`` records, and where it is told."""

    name: str
    rows: int
    batch_size: int
    epochs: int
    warmup: int
    seed: int
    shown: Sequence[str]  # figures beside the bar
    together: Sequence[int] | None = None  # rows with the same number are read in the same batch

    def run(
        self,
        group: Any,
        forward: Callable[[Any], Any],
        method: Any,
        batch: Callable[[list[int]], Any],
        output: Path,
        machine: Machine,
    ) -> list[dict[str, float]]:
        """Updates the optimizer's ``group`` on ``batch(rows)`` until all epochs are read; writes
        ``metrics.jsonl`` and returns its lines. The learning rate falls along half a cosine.
        """
        from posttrain.data.jsonl import Lines
        from posttrain.training.fit import Epochs, FitState, fit
        from posttrain.training.optimizer import Optimizer, cosine
        from posttrain.training.progress import progress

        plan = Epochs(self.rows, self.batch_size, self.seed, self.epochs, self.together)
        loop = fit(
            FitState(),
            forward,
            method,
            lambda step: batch(plan.at(step)),
            Optimizer([group], schedule=cosine(plan.steps, min(self.warmup, plan.steps // 4))),
            steps=plan.steps,
            micro_batch_tokens=machine.micro_batch_tokens,
        )
        history = []
        with Lines(output / "metrics.jsonl") as log:
            for figures in progress(loop, plan.steps, self.name, quiet=machine.quiet, figures=self.shown):
                log.write(figures)
                history.append(figures)
        return history


def pairs(
    chat: Any, rows: Sequence[Mapping[str, Any]], max_length: int, most: int = 0
) -> tuple[list[Pair], dict[str, int]]:
    """Comparisons with answers as tokens, the first ``most`` or all; what several annotators said of a pair
    is counted together; ties, equal answers and too long ones are dropped and counted.
    """
    from posttrain.feedback.votes import counted
    from posttrain.rollouts.reread import reread

    known: dict[str, Row] = {}  # an answer stands in several comparisons

    def read(row: Mapping[str, Any], side: str) -> Row:
        said = (row["prompt"], row[side], row.get(f"{side}_ended", True))
        key = json.dumps(said)
        if key not in known:
            known[key] = reread(chat, *said)
        return known[key]

    kept: list[Pair] = []
    counts = {"ties": 0, "equal": 0, "too_long": 0}
    for row in counted(rows):
        if most and len(kept) == most:
            break
        if row.get("tie"):
            counts["ties"] += 1
            continue
        chosen, rejected = read(row, "chosen"), read(row, "rejected")
        if chosen.ids == rejected.ids:
            counts["equal"] += 1
        elif max(len(chosen.ids), len(rejected.ids)) > max_length:
            counts["too_long"] += 1
        else:
            sure, margin = float(row.get("confidence", 1.0)), float(row.get("margin", 0.0))
            kept.append(Pair(chosen, rejected, sure, margin))
    return kept, counts


def same_prompt(found: Sequence[Pair]) -> list[int]:
    """A number for each pair, the same for pairs of answers to the same prompt."""
    numbers: dict[tuple[int, ...], int] = {}
    return [
        numbers.setdefault(tuple(pair.chosen.ids[: list(pair.chosen.mask).index(True)]), len(numbers))
        for pair in found
    ]


def ratings(
    chat: Any, rows: Sequence[Mapping[str, Any]], max_length: int
) -> tuple[list[tuple[Row, bool]], dict[str, int]]:
    """(answer as tokens, whether it is wanted); too long ones are dropped and counted."""
    from posttrain.rollouts.reread import reread

    read = [(reread(chat, row["prompt"], row["completion"]), bool(row["label"])) for row in rows]
    kept = [one for one in read if len(one[0].ids) <= max_length]
    return kept, {"too_long": len(read) - len(kept)}


def judged(batch: Sequence[Pair], pad_id: int) -> Any:
    """Pairs as rows: each pair a group, the chosen answer first."""
    import torch

    from posttrain.core.preferences import ranked
    from posttrain.models.collate import rollouts

    rows = [replace(row, group=number) for number, pair in enumerate(batch) for row in pair[:2]]
    sure = torch.tensor([pair.confidence for pair in batch for _ in range(2)])
    margin = torch.tensor([wanted for pair in batch for wanted in (pair.margin, 0.0)])
    return ranked(rollouts(rows, pad_id), torch.tensor([0, 1] * len(batch)), sure, margin)


def mismatched(own: Row, other: Row) -> Row:
    """The prompt of one row with the answer of another."""
    here, there = _start(own), _start(other)
    return replace(
        own,
        ids=[*own.ids[:here], *other.ids[there:]],
        mask=[*own.mask[:here], *other.mask[there:]],
    )


def _start(row: Row) -> int:
    """Where the last answer begins."""
    end = max(place for place, own in enumerate(row.mask) if own)
    return max(place for place in range(end) if not row.mask[place]) + 1
