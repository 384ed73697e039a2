"""A user's own rows for a stage: read, checked and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posttrain.data.rows import Problems, Row
from posttrain.pipeline.sources import SourceFile

Reader = Callable[[str, str | None, Problems | None], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Own:
    """The rows of a source, and what was left out of it."""

    rows: list[Row]
    skipped: Problems

    @classmethod
    def read(
        cls, reader: Reader, source: SourceFile, workspace: Path | None, *, skip_bad: bool, first: int
    ) -> Own:
        """The ``first`` good rows (0 is all). Raises UserError with the first ten problems, unless
        ``skip_bad``.
        """
        skipped = Problems(source.path)
        rows = reader(source.path, source.revision(workspace), skipped if skip_bad else None)
        return cls(rows=rows[:first] if first else rows, skipped=skipped)

    @property
    def figures(self) -> dict[str, float | int | str]:
        """How many rows were left out, and how many say the same as an earlier one."""
        different = {json.dumps({k: v for k, v in row.items() if k != "id"}) for row in self.rows}
        return {"skipped": len(self.skipped.rows), "duplicates": len(self.rows) - len(different)}

    @property
    def notes(self) -> list[str]:
        if not self.skipped.rows:
            return []
        told = "\n  ".join(self.skipped.told())
        return [f"{len(self.skipped.rows)} bad rows were left out, as --skip-bad asked:\n  {told}"]
