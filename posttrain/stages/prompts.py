"""Prompts to answer: those that are trained on and those that are kept for evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.read import read_prompts
from posttrain.data.row_counts import row_counts
from posttrain.data.rows import Row
from posttrain.data.user_rows import DUPLICATES, Reader
from posttrain.pipeline.enough import ForeseenRows, Sides
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, later
from posttrain.stages.user_rows_stage import UserRowsStage


@dataclass(frozen=True, kw_only=True)
class FieldGuidePrompts(Stage):
    """Prompts of the embedded world; the held-out ones are fixed and frozen together with the gold reward."""

    address = "prompts"
    does = "prompts"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    rows: int = 4000
    """Prompts that are trained on."""
    seed: int = 0
    """Seed of the training prompts."""
    heldout: int = later(600)
    """Held-out prompts, the same for every seed; they are frozen together with the gold reward."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "item"}."""
        from posttrain.field_guide.freeze import heldout_prompts
        from posttrain.field_guide.tasks import items
        from posttrain.storage.jsonl import write_jsonl

        # another seed than the demonstrations', so that prompts are new where the world has enough of them
        train = write_jsonl(output / "train.jsonl", items("train", self.rows, self.seed + 1_000_000))
        held = write_jsonl(output / "heldout.jsonl", heldout_prompts(self.heldout))
        return Report(metrics=row_counts(train, held))

    def rehearsal(self) -> FieldGuidePrompts:
        return replace(self, rows=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.field_guide.freeze import heldout_prompts

        held = heldout_prompts(self.heldout)
        return rows_written(Rows.of_sample(self.rows, len(held), held))


@dataclass(frozen=True, kw_only=True)
class ConstraintPrompts(Stage):
    """Prompts with verifiable constraints for a real model; held-out ones have held-out topics and
    wordings.
    """

    address = "prompts"
    does = "prompts"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    rows: int = 1000
    """Prompts that are trained on."""
    heldout: int = 200
    """Prompts with held-out topics and wordings, the same for every seed."""
    seed: int = 0
    """Seed of the training prompts."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "item"}."""
        from posttrain.data.constraint_prompts import prompts
        from posttrain.storage.jsonl import write_jsonl

        train = write_jsonl(output / "train.jsonl", prompts("train", self.rows, self.seed + 1_000_000))
        held = write_jsonl(output / "heldout.jsonl", prompts("heldout", self.heldout, 0))
        return Report(metrics=row_counts(train, held))

    def rehearsal(self) -> ConstraintPrompts:
        return replace(self, rows=8, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.data.constraint_prompts import prompts

        return rows_written(Rows.of_sample(self.rows, self.heldout, prompts("heldout", 64, 0)))


@dataclass(frozen=True, kw_only=True)
class EverydayPrompts(Stage):
    """Everyday questions for a real model; held-out ones have held-out topics and wordings. With
    ``validation`` their topics are those that settings are chosen on, so that a quoted figure is of topics
    nobody looked at.
    """

    address = "prompts"
    does = "prompts"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    rows: int = 800
    """Prompts that are trained on."""
    heldout: int = 320
    """Prompts with held-out topics and wordings."""
    validation: bool = False
    """Held-out topics are those that settings are chosen on, not those that metrics are quoted for."""
    seed: int = 0
    """Seed of the training and held-out prompts."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "item"}."""
        from posttrain.everyday.prompts import prompts
        from posttrain.storage.jsonl import write_jsonl

        split = "validation" if self.validation else "test"
        train = write_jsonl(output / "train.jsonl", prompts("train", self.rows, self.seed + 1_000_000))
        held = write_jsonl(output / "heldout.jsonl", prompts(split, self.heldout, self.seed))
        return Report(metrics=row_counts(train, held))

    def rehearsal(self) -> EverydayPrompts:
        return replace(self, rows=8, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.everyday.prompts import prompts

        return rows_written(Rows.of_sample(self.rows, self.heldout, prompts("test", 64, self.seed)))


@dataclass(frozen=True, kw_only=True)
class PromptRows(UserRowsStage):
    """The user's own rows {"prompt": ...}; up to ``heldout`` of them, at most a quarter, are kept for
    evaluation, and one that comes twice is asked once. ``rows`` takes the first so many, 0 takes all;
    ``skip_bad`` leaves faulty ones out.
    """

    address = "prompts"
    does = "prompts"
    amounts = (("rows", "{} rows"),)
    reads: ClassVar[Reader] = staticmethod(read_prompts)
    heldout: int = 200
    """Prompts that are kept for evaluation, at most a quarter of all."""

    def parts(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """Raises UserError for fewer than two different prompts."""
        different = {json.dumps(row["prompt"], sort_keys=True): row for row in rows}
        order = sorted(different, key=lambda text: hashlib.sha256(text.encode()).digest())
        if len(order) < 2:
            raise UserError(f"{len(order)} different prompts; needs at least 2")
        heldout_count = max(min(self.heldout, len(order) // 4), 1)
        named = [{"id": f"prompt-{index}", **different[text]} for index, text in enumerate(order)]
        return named[heldout_count:], named[:heldout_count]


@dataclass(frozen=True, kw_only=True)
class PromptsOf(Stage):
    """The prompts of ``rows``, demonstrations or comparisons, where no prompts of their own were given."""

    address = "prompts"
    does = "prompts"
    rows: Stage
    """The demonstrations or comparisons whose prompts are taken."""
    heldout: int = 200
    """Most held-out prompts that are kept for evaluation."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``; held-out rows give held-out prompts.

        Raises UserError where one side is empty.
        """
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        given = {side: read_jsonl(inputs["rows"].path / f"{side}.jsonl") for side in ("train", "heldout")}
        sides = self._asked(given)
        for side, rows in sides.items():
            write_jsonl(output / f"{side}.jsonl", rows)
        repeated = sum(map(len, given.values())) - sum(map(len, self._different(given).values()))
        counts = {side: len(rows) for side, rows in sides.items()}
        return Report(metrics=row_counts(counts["train"], counts["heldout"]) | DUPLICATES.of(repeated))

    def foreseen(self, rows: ForeseenRows, machine: Machine) -> Sides | None:
        """As ``run`` will write them. Raises UserError where one side is empty."""
        given = rows(self.rows)
        if given is None:
            return None
        sides = self._asked({"train": given[0], "heldout": given[1]})
        return sides["train"], sides["heldout"]

    def _different(self, given: Mapping[str, Sequence[Row]]) -> dict[str, list[object]]:
        """The prompts of each side, once each."""
        different: dict[str, list[object]] = {}
        for side, rows in given.items():
            asked = [r["prompt"] if "prompt" in r else _until_the_answer(r["messages"]) for r in rows]
            different[side] = list({json.dumps(prompt, sort_keys=True): prompt for prompt in asked}.values())
        return different

    def _asked(self, given: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
        """The rows to write, {"id", "prompt"}. Raises UserError where one side is empty."""
        sides = {}
        for side, prompts in self._different(given).items():
            rows = [{"id": f"{side}-{index}", "prompt": prompt} for index, prompt in enumerate(prompts)]
            sides[side] = rows[: self.heldout] if side == "heldout" else rows
            if not rows:
                counts = ", ".join(f"{len(rows)} {name} rows" for name, rows in given.items())
                raise UserError(
                    f"the {side} rows hold no prompt; there are {counts}; give prompts=FILE, or more rows"
                )
        return sides

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        from posttrain.checks import rows_ahead

        return rows_ahead.both_sides(self, inputs["rows"].path) if "rows" in inputs else []

    def work(self, inputs: Inputs) -> StageWork | None:
        source_rows = Rows.of(inputs["rows"]) if "rows" in inputs else None
        if source_rows is None:
            return None
        return rows_written(
            Rows(
                rows=source_rows.rows,
                heldout_rows=min(source_rows.heldout_rows, self.heldout),
                row_tokens=source_rows.row_tokens / 2,
            )
        )


def _until_the_answer(messages: list[Row]) -> list[Row]:
    """A conversation up to its last answer."""
    last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:last]
