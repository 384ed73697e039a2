"""A user's own rows: read, checked and counted before anything is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from posttrain.data.read import ReadOptions
from posttrain.data.row_counts import row_counts
from posttrain.data.rows import Problems, Row
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.sizes import loaded, tokens_of
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Estimate, Inputs, Machine, Report, Stage, later
from posttrain.storage.jsonl import write_jsonl

SKIPPED = declare_metric(
    "skipped",
    "Bad rows of the user's file that were left out.",
    unit="rows",
    better="down",
)
DUPLICATES = declare_metric(
    "duplicates",
    "Rows that say the same as an earlier one.",
    unit="rows",
    better="down",
)

Reader = Callable[[str, str | None, ReadOptions | None], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Own:
    """The rows of a source, and what was left out of it."""

    rows: list[Row]
    skipped: Problems
    notices: tuple[str, ...] = ()
    all_rows: int = 0  # of which ``rows`` are the first

    @classmethod
    def read(
        cls,
        reader: Reader,
        source: SourceFile,
        workspace: Path | None,
        *,
        skip_bad: bool,
        first: int,
        columns: str = "",
    ) -> Own:
        """The ``first`` good rows (0 is all). Raises UserError with the first ten problems, unless
        ``skip_bad``; and for ``columns`` that are not of the form STANDARD:COLUMN,...
        """
        skipped = Problems(source.path)
        reading = ReadOptions(columns=renamed(columns), skipped=skipped if skip_bad else None)
        rows = reader(source.path, source.revision(workspace), reading)
        return cls(
            rows=rows[:first] if first else rows,
            skipped=skipped,
            all_rows=len(rows),
            notices=tuple(dict.fromkeys(reading.notices)),
        )

    @property
    def metrics(self) -> dict[str, Metric]:
        """How many rows were left out, and how many say the same as an earlier one."""
        different = {json.dumps({k: v for k, v in row.items() if k != "id"}) for row in self.rows}
        return SKIPPED.of(len(self.skipped.rows)) | DUPLICATES.of(len(self.rows) - len(different))

    @property
    def notes(self) -> list[str]:
        told = list(self.notices)
        if self.skipped.rows:
            bad = "\n  ".join(self.skipped.told())
            told.insert(0, f"{len(self.skipped.rows)} bad rows were left out, as --skip-bad asked:\n  {bad}")
        if len(self.rows) < self.all_rows:
            told.append(f"The first {len(self.rows)} of {self.all_rows} rows are used; rows=0 takes all.")
        return told


def renamed(columns: str) -> dict[str, str]:
    """``prompt:question,chosen:better`` as a mapping. Raises UserError for another form."""
    names: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in columns.split(","))):
        standard, colon, column = (piece.strip() for piece in part.partition(":"))
        if not (standard and colon and column) or standard in names:
            raise UserError(f"columns={columns}: expected STANDARD:COLUMN,... such as prompt:question")
        names[standard] = column
    return names


@dataclass(frozen=True, kw_only=True)
class OwnRows(Stage):
    """A stage whose product is a user's rows. ``rows`` takes the first so many, 0 takes all; ``skip_bad``
    leaves faulty ones out. ``columns`` names the file's own columns, ``prompt:question,chosen:better``.

    A subclass says how they are read (``reads``) and which are trained on (``parts``).
    """

    reads: ClassVar[Any]
    source: SourceFile
    """Your rows: a file (JSON lines, CSV, Parquet), a directory, or a data set on the hub."""
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
        self._sides(self._read(machine))
        return []

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``. Raises UserError naming file, row and field."""
        own = self._read(machine)
        train, held = self._sides(own)
        write_jsonl(output / "train.jsonl", train)
        write_jsonl(output / "heldout.jsonl", held)
        return Report(metrics=row_counts(len(train), len(held)) | own.metrics, notes=own.notes)

    def rehearsal(self) -> OwnRows:
        return replace(self, rows=16)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        if self.source.local is None:
            return None
        train, held = self._sides(self._read(machine))
        return loaded(len(train), len(held), tokens_of(train))

    def _sides(self, own: Own) -> tuple[list[Row], list[Row]]:
        """As ``parts``; what is raised names the file."""
        try:
            return self.parts(own.rows)
        except UserError as error:
            raise UserError(f"{self.source.path}: {error}") from None

    def _read(self, machine: Machine) -> Own:
        return Own.read(
            self.reads,
            self.source,
            machine.workspace,
            skip_bad=self.skip_bad,
            first=self.rows,
            columns=self.columns,
        )
