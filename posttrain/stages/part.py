"""A part of somebody's rows, so that two models learn from different prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.row_counts import row_counts
from posttrain.data.rows import Row
from posttrain.pipeline.enough import ForeseenRows, Sides
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage


@dataclass(frozen=True, kw_only=True)
class PartOfRows(Stage):
    """The training rows of about a ``share`` of the prompts of ``rows``, by a hash of the prompt, or with
    ``rest`` those of all others; the first ``most`` of them, 0 takes all. The held-out rows are passed on,
    the same to both parts, the first ``most_heldout``.
    """

    address = "part"
    does = "part of the rows"
    positive = ("share",)
    rows: Stage
    """The rows of which this is a part."""
    share: float = 0.5
    """Share of the prompts that belong to this part, chosen by a hash of the prompt."""
    rest: bool = False
    """Takes the prompts that are not in that share."""
    most: int = 0
    """Most training rows, the first ones; 0 takes all."""
    most_heldout: int = 0
    """Most held-out rows, the first ones; 0 takes all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share > 1:
            raise UserError(f"share is {self.share}, expected a share above 0 and up to 1")

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``. Raises UserError where the part is empty."""
        from posttrain.storage.jsonl import RowsInFile, write_jsonl

        source = inputs["rows"].path
        given = RowsInFile(source / "train.jsonl")
        part = self._part(given)
        used = part[: self.most] if self.most else part
        train = write_jsonl(output / "train.jsonl", (given[index] for index in used))
        others = RowsInFile(source / "heldout.jsonl")
        measured = min(len(others), self.most_heldout or len(others))
        held = write_jsonl(output / "heldout.jsonl", (others[index] for index in range(measured)))
        notes = []
        for used_up, available, use, setting in (
            (train, len(part), "learned from", "most"),
            (held, len(others), "measured with", "most_heldout"),
        ):
            if used_up < available:
                wish = f"{self.name or self.address}.{setting}=0"
                notes.append(f"The first {used_up} of {available} rows are {use}; {wish} takes all.")
        return Report(metrics=row_counts(train, held), notes=notes)

    def foreseen(self, rows: ForeseenRows, machine: Machine) -> Sides | None:
        """As ``run`` will write them. Raises UserError where the part is empty."""
        sides = rows(self.rows)
        if sides is None:
            return None
        train = [sides[0][index] for index in self._part(sides[0])]
        return train[: self.most or len(train)], sides[1][: self.most_heldout or len(sides[1])]

    def work(self, inputs: Inputs) -> StageWork | None:
        whole = Rows.of(inputs.get("rows"))
        if whole is None:
            return None
        share = 1 - self.share if self.rest else self.share
        return rows_written(
            replace(
                whole,
                rows=min(round(share * whole.rows), self.most or whole.rows),
                heldout_rows=min(whole.heldout_rows, self.most_heldout or whole.heldout_rows),
            )
        )

    def _part(self, given: Sequence[Row]) -> list[int]:
        """The places of its rows. Raises UserError where it has none."""
        part = [index for index, row in enumerate(given) if self._first(row["prompt"]) != self.rest]
        if not part:
            raise UserError(
                f"none of {len(given)} training rows falls to this part: give more rows, or judge_share=0, "
                "which trains no judge and the policy on all of them"
            )
        return part

    def _first(self, prompt: object) -> bool:
        """Whether a prompt is of the first part; its hash's first bytes say already what is held out."""
        digest = hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).digest()
        return int.from_bytes(digest[4:8], "big") < self.share * 2**32
