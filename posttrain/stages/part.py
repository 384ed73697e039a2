"""A part of somebody's rows, so that two models learn from different prompts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from posttrain.data.row_counts import row_counts
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sizes import PROCESS, WRITTEN, Rows
from posttrain.pipeline.stage import Estimate, Inputs, Machine, Report, Stage


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
        part = [place for place, row in enumerate(given) if self._first(row["prompt"]) != self.rest]
        used = part[: self.most] if self.most else part
        kept = write_jsonl(output / "train.jsonl", (given[place] for place in used))
        if not kept:
            raise UserError(
                f"none of {len(given)} training rows falls to this part: give more rows, or judge_share=0, "
                "which trains no judge and the policy on all of them"
            )
        others = RowsInFile(source / "heldout.jsonl")
        measured = min(len(others), self.most_heldout or len(others))
        held = write_jsonl(output / "heldout.jsonl", (others[place] for place in range(measured)))
        notes = []
        for used_up, there, use, setting in (
            (kept, len(part), "learned from", "most"),
            (held, len(others), "measured with", "most_heldout"),
        ):
            if used_up < there:
                wish = f"{self.name or self.address}.{setting}=0"
                notes.append(f"The first {used_up} of {there} rows are {use}; {wish} takes all.")
        return Report(metrics=row_counts(kept, held), notes=notes)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        known = Rows.of(inputs["rows"]) if "rows" in inputs else None
        if known is None:
            return None
        share = 1 - self.share if self.rest else self.share
        part = Rows(
            rows=min(round(share * known.rows), self.most or known.rows),
            heldout_rows=min(known.heldout_rows, self.most_heldout or known.heldout_rows),
            row_tokens=known.row_tokens,
            fresh=known.fresh,
        )
        return Estimate(
            seconds=WRITTEN * (part.rows + part.heldout_rows), bytes=PROCESS, expects=part.figures()
        )

    def _first(self, prompt: object) -> bool:
        """Whether a prompt is of the first part; its hash's first bytes say already what is held out."""
        digest = hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).digest()
        return int.from_bytes(digest[4:8], "big") < self.share * 2**32
