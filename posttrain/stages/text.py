"""Plain text like that of pretraining, to be kept in mind and to measure what was forgotten."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.read import read_text
from posttrain.data.row_counts import row_counts
from posttrain.data.rows import Row
from posttrain.data.split import split
from posttrain.data.user_rows import Reader
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.stages.user_rows_stage import UserRowsStage

UNREAD = 10_000_000  # pages from this number on were never pretraining's


@dataclass(frozen=True, kw_only=True)
class PretrainingPages(Stage):
    """Pages of the embedded world in the mix that its pretraining ended with; held-out ones are the same for
    every seed. None of them was read in pretraining.
    """

    address = "text"
    does = "pretraining text"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    rows: int = 3000
    """Pages that are trained on."""
    heldout: int = 400
    """Pages for measuring, the same for every seed."""
    seed: int = 0
    """Which of the pages that pretraining did not read are taken."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": "", "completion": page}."""
        from posttrain.storage.jsonl import write_jsonl

        train = write_jsonl(output / "train.jsonl", _pages(self.rows, UNREAD * (2 + self.seed)))
        held = write_jsonl(output / "heldout.jsonl", _pages(self.heldout, UNREAD))
        return Report(metrics=row_counts(train, held))

    def rehearsal(self) -> PretrainingPages:
        return replace(self, rows=8, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        return rows_written(Rows.of_sample(self.rows, self.heldout, _pages(32, UNREAD)))


@dataclass(frozen=True, kw_only=True)
class TextRows(UserRowsStage):
    """The user's own rows {"text"}; ``heldout_share`` of them, by a hash, is not trained on. ``rows`` takes
    the first so many, 0 takes all; ``skip_bad`` leaves faulty ones out.
    """

    address = "text"
    does = "pretraining text"
    amounts = (("rows", "{} rows"),)
    reads: ClassVar[Reader] = staticmethod(read_text)
    heldout_share: float = 0.1
    """Share of the texts that is not trained on, chosen by a hash."""

    def parts(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        return split(rows, "completion", self.heldout_share)


def _pages(count: int, first: int) -> list[Row]:
    from posttrain.field_guide.corpus import page

    numbers = range(first, first + count)
    return [{"id": f"page-{n}", "prompt": "", "completion": page(n, late=True)} for n in numbers]
