"""What the stages that learn from records have in common: the loop with its bar and its log, and comparisons
as rows."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from posttrain.data.rows import JsonRow
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.stage import Compute, Machine
from posttrain.storage.chunks import NOT_KEPT, Chunks, row_by_row
from posttrain.storage.token_rows import Packed, packed, unpacked

if TYPE_CHECKING:
    from posttrain.core.batch import PreferenceBatch
    from posttrain.models.chat import Chat
    from posttrain.storage.preference_store import PreferenceRow, PreferenceStore
    from posttrain.storage.token_rows import TokenRow
    from posttrain.training.optimizer import Group


# why a row is left out; or its answers, their ranks, its confidence and its margin
Encoded = str | tuple[list[Packed], list[int], float, float]


class Fitted(Protocol):
    """The settings of a stage that learns from records; those of ``stages.sft.InstructionTuning``, say."""

    address: ClassVar[str]

    @property
    def name(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def warmup(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def compute(self) -> Compute: ...


TIES = declare_metric(
    "ties",
    "Comparisons that were a tie, or rated in both ways, and teach nothing.",
    unit="comparisons",
    better="down",
    where="report",
)
EQUAL = declare_metric(
    "equal",
    "Comparisons of two answers that are the same, which are left out.",
    unit="comparisons",
    better="down",
    title="left out as equal",
)
TOO_LONG = declare_metric(
    "too_long",
    "Rows that were left out because they are longer than a length limit.",
    unit="rows",
    better="down",
    title="left out as too long",
)


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How much is learned from ``rows`` records, and where it is told."""

    name: str
    rows: int
    batch_size: int
    epochs: int
    warmup: int
    seed: int
    shown: Sequence[str]  # metrics beside the bar
    together: Sequence[int] | None = None  # rows with the same number are read in the same batch
    compute: str = "float32"  # of matrix products

    @classmethod
    def of(
        cls, stage: Fitted, rows: int, shown: Sequence[str], together: Sequence[int] | None = None
    ) -> Fitting:
        """As the settings of a stage say: its name, batch size, epochs, warm-up, seed and compute."""
        return cls(
            name=stage.name or stage.address,
            rows=rows,
            shown=shown,
            together=together,
            batch_size=stage.batch_size,
            epochs=stage.epochs,
            warmup=stage.warmup,
            seed=stage.seed,
            compute=stage.compute,
        )

    def run(
        self,
        group: Group,
        forward: Callable[[Any], Any],
        method: Any,
        batch: Callable[[list[int]], Any],
        output: Path,
        machine: Machine,
        given: Callable[[int], Sequence[TokenRow]] | None = None,
    ) -> list[dict[str, float]]:
        """Updates the optimizer's ``group`` on ``batch(rows)`` until all epochs are read; writes
        ``metrics.jsonl`` and returns its lines. The learning rate falls along half a cosine. ``given`` says
        of which tokens a record was made, so that what is learned can be compared with them. Raises UserError
        where a look at the first rows finds a fault (``checks.model_probes``).
        """
        from posttrain.checks.model_probes import look_at_records
        from posttrain.training.drive import Driver
        from posttrain.training.fit import Epochs, FitState, fit
        from posttrain.training.optimizer import Optimizer, cosine

        look_at_records(forward, batch, self.rows, self.compute, method, given)
        plan = Epochs(self.rows, self.batch_size, self.seed, self.epochs, self.together)
        state = FitState()
        optimizer = Optimizer([group], schedule=cosine(plan.steps, min(self.warmup, plan.steps // 4)))
        loop = fit(
            state,
            forward,
            method,
            lambda step: batch(plan.at(step)),
            optimizer,
            steps=plan.steps,
            micro_batch_tokens=machine.micro_batch_tokens,
        )
        driver = Driver.of(machine, self.name, output, plan.steps, self.shown)
        return driver.drive(loop, {"state": state, "optimizer": optimizer}, done=lambda: state.step)


def pairs(
    chat: Chat,
    rows: Sequence[JsonRow],
    max_length: int,
    store: PreferenceStore,
    most: int = 0,
    chunks: Chunks = NOT_KEPT,
) -> dict[str, int]:
    """Adds comparisons with answers as tokens, the first ``most`` or all, to ``store``; what several
    annotators said of a pair is counted together; ties, equal answers and too long ones are dropped and
    counted. Tokens are kept in ``chunks`` as they are made.
    """
    from posttrain.feedback.votes import counted
    from posttrain.rollouts.encode import encode_answer

    @lru_cache(maxsize=256)  # an answer stands in several comparisons, which follow one another
    def read(text: str) -> TokenRow:
        return encode_answer(chat, *json.loads(text))

    def side(row: JsonRow, name: str) -> TokenRow:
        return read(json.dumps((row["prompt"], row[name], row.get(f"{name}_ended", True))))

    def encoded(row: JsonRow) -> Encoded:
        if row.get("tie"):
            return TIES.name
        both = [side(row, "chosen"), side(row, "rejected")]
        if both[0].ids == both[1].ids:
            return EQUAL.name
        if max(len(answer.ids) for answer in both) > max_length:
            return TOO_LONG.name
        confidence, margin = float(row.get("confidence", 1.0)), float(row.get("margin", 0.0))
        return [packed(answer) for answer in both], [0, 1], confidence, margin

    counts = {kind.name: 0 for kind in (TIES, EQUAL, TOO_LONG)}
    return _added(row_by_row(chunks, len(rows), counted(rows), encoded), store, counts, most)


def ratings(
    chat: Chat,
    rows: Sequence[JsonRow],
    max_length: int,
    store: PreferenceStore,
    chunks: Chunks = NOT_KEPT,
) -> dict[str, int]:
    """Adds answers as tokens, of rank 0 where they are wanted, to ``store``; too long ones are dropped
    and counted. Tokens are kept in ``chunks`` as they are made.
    """
    from posttrain.rollouts.encode import encode_answer

    def encoded(row: JsonRow) -> Encoded:
        answer = encode_answer(chat, row["prompt"], row["completion"])
        if len(answer.ids) > max_length:
            return TOO_LONG.name
        return [packed(answer)], [0 if row["label"] else 1], 1.0, 0.0

    return _added(row_by_row(chunks, len(rows), rows, encoded), store, {TOO_LONG.name: 0})


def _added(
    made: Iterable[Encoded], store: PreferenceStore, counts: dict[str, int], most: int = 0
) -> dict[str, int]:
    """Adds what was encoded to ``store``, and what was left out to the ``counts`` of the reasons."""
    from posttrain.storage.preference_store import PreferenceRow

    for one in made:
        if most and len(store) == most:
            break
        if isinstance(one, str):
            counts[one] += 1
            continue
        answers, ranks, confidence, margin = one
        rows = [unpacked(answer) for answer in answers]
        store.append(PreferenceRow(rows=rows, ranks=ranks, confidence=confidence, margin=margin))
    return counts


def left_out(counts: Mapping[str, int]) -> dict[str, Metric]:
    """Of what ``pairs`` or ``ratings`` counted."""
    metrics: dict[str, Metric] = {}
    for kind in (TIES, EQUAL, TOO_LONG):
        if kind.name in counts:
            metrics |= kind.of(counts[kind.name])
    return metrics


def same_prompt(comparisons: Sequence[PreferenceRow]) -> Sequence[int]:
    """A number for each, the same for answers to the same prompt."""
    from posttrain.data.dedup import number_items

    asked = ((row.ids, list(row.mask).index(True)) for row in (pair.rows[0] for pair in comparisons))
    return number_items(array("i", ids[:end]).tobytes() for ids, end in asked)


def judged(batch: Sequence[PreferenceRow], pad_id: int, width: int | None = None) -> PreferenceBatch:
    """The rows as a batch: each a group, its answers in their order. ``width`` as of ``rollouts``."""
    import torch

    from posttrain.core.preferences import ranked
    from posttrain.models.collate import rollouts

    rows = [replace(row, group=number) for number, one in enumerate(batch) for row in one.rows]
    confidence = torch.tensor([one.confidence for one in batch for _ in one.rows])
    margin = torch.tensor([one.margin if rank == 0 else 0.0 for one in batch for rank in one.ranks])
    ranks = torch.tensor([rank for one in batch for rank in one.ranks])
    return ranked(rollouts(rows, pad_id, width=width), ranks, confidence, margin)


def mismatched(row: TokenRow, other: TokenRow) -> TokenRow:
    """The prompt of one row with the answer of another."""
    here, other_start = _start(row), _start(other)
    return replace(
        row,
        ids=[*row.ids[:here], *other.ids[other_start:]],
        mask=[*row.mask[:here], *other.mask[other_start:]],
    )


def with_mismatched(comparisons: PreferenceStore) -> PreferenceStore:
    """Beside each prompt's own answers one to the prompt before it, of rank -1."""
    longer = type(comparisons)(comparisons.directory)
    for at, one in enumerate(comparisons):
        other = mismatched(one.rows[0], comparisons[at - 1].rows[-(at % 2)])
        longer.append(replace(one, rows=[*one.rows, other], ranks=[*one.ranks, -1]))
    return longer


def _start(row: TokenRow) -> int:
    """Where the last answer begins."""
    end = max(index for index, learns in enumerate(row.mask) if learns)
    return max(index for index in range(end) if not row.mask[index]) + 1
