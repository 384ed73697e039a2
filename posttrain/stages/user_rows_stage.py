"""What the stages share whose product is a user's rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.row_counts import row_counts
from posttrain.data.rows import Row
from posttrain.data.user_rows import Reader, UserRows
from posttrain.pipeline.enough import ForeseenRows, Sides
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, later
from posttrain.storage.jsonl import write_jsonl

FEW = 10_000_000  # bytes; a larger file has rows enough for any batch


@dataclass(frozen=True, kw_only=True)
class UserRowsStage(Stage):
    """A stage whose product is a user's rows. ``rows`` takes the first so many, 0 takes all; ``skip_bad``
    leaves faulty ones out. ``columns`` names the file's own columns, ``prompt:question,chosen:better``.

    A subclass says how they are read (``reads``) and which are trained on (``parts``).
    """

    reads: ClassVar[Reader]
    source: SourceFile
    """Your rows: a file (JSON lines, a JSON array, CSV, Parquet), or a data set on the hub."""
    rows: int = 0
    """How many rows are read, the first ones; 0 reads all."""
    skip_bad: bool = False
    """Faulty rows are left out, counted and named in the report; otherwise they stop the run."""
    columns: str = later("")
    """Your column names for the expected ones, such as ``prompt:question,chosen:better``."""

    def parts(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """Those that are trained on and those that are held out. Raises UserError where there are too few."""
        raise NotImplementedError(f"{type(self).__name__}.parts")

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        """Reads the file whole. Raises UserError naming file, row and field."""
        self._sides(self._read(machine.workspace))
        return []

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``. Raises UserError naming file, row and field."""
        source = self._read(machine.workspace)
        train, held = self._sides(source)
        write_jsonl(output / "train.jsonl", train)
        write_jsonl(output / "heldout.jsonl", held)
        return Report(metrics=row_counts(len(train), len(held)) | source.metrics, notes=source.notes)

    def foreseen(self, rows: ForeseenRows, machine: Machine) -> Sides | None:
        """As ``run`` will write them; None for a large file, which has rows enough, or one on the hub."""
        file = self.source.local
        if file is None or not file.is_file() or file.stat().st_size > FEW:
            return None
        return self._sides(self._read(machine.workspace))

    def rehearsal(self) -> UserRowsStage:
        return replace(self, rows=16)

    def work(self, inputs: Inputs) -> StageWork | None:
        if self.source.local is None:
            return None
        train, held = self._sides(self._read(None))
        return rows_written(Rows.of_sample(len(train), len(held), train))

    def _sides(self, source: UserRows) -> tuple[list[Row], list[Row]]:
        """As ``parts``; what is raised names the file."""
        try:
            return self.parts(source.rows)
        except UserError as error:
            raise UserError(f"{self.source.path}: {error}") from None

    def _read(self, workspace: Path | None) -> UserRows:
        return UserRows.read(
            type(self).reads,
            self.source,
            workspace,
            skip_bad=self.skip_bad,
            first=self.rows,
            columns=self.columns,
        )
