"""A user's own rows: read, checked and counted before anything is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posttrain.data.read import ReadOptions
from posttrain.data.rows import Problems, Row
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile

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
class UserRows:
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
    ) -> UserRows:
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
        lines = list(self.notices)
        if self.skipped.rows:
            bad = "\n  ".join(self.skipped.shown_lines())
            lines.insert(0, f"{len(self.skipped.rows)} bad rows were left out, as --skip-bad asked:\n  {bad}")
        if len(self.rows) < self.all_rows:
            lines.append(f"The first {len(self.rows)} of {self.all_rows} rows are used; rows=0 takes all.")
        return lines


def renamed(columns: str) -> dict[str, str]:
    """``prompt:question,chosen:better`` as a mapping. Raises UserError for another form."""
    names: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in columns.split(","))):
        standard, colon, column = (piece.strip() for piece in part.partition(":"))
        if not (standard and colon and column) or standard in names:
            raise UserError(f"columns={columns}: expected STANDARD:COLUMN,... such as prompt:question")
        names[standard] = column
    return names
