"""Demonstrations: what people answered, to learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.read import read_messages
from posttrain.data.row_counts import row_counts
from posttrain.data.rows import Row
from posttrain.data.split import split
from posttrain.data.user_rows import Reader
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.stages.user_rows_stage import UserRowsStage


@dataclass(frozen=True, kw_only=True)
class FieldGuideDemonstrations(Stage):
    """Answers by simulated demonstrators of three levels of quality; held-out ones are about held-out
    things.
    """

    address = "demonstrations"
    does = "answers by demonstrators"
    amounts = (("rows", "{} rows"),)
    positive = ("rows",)
    rows: int = 6000
    """Demonstrations that are trained on."""
    heldout: int = 400
    """Demonstrations about held-out subjects, for measuring."""
    seed: int = 0
    """Seed of what is asked and how it is answered."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"messages", ...}."""
        from posttrain.field_guide.demonstrations import demonstrations
        from posttrain.storage.jsonl import write_jsonl

        train = write_jsonl(output / "train.jsonl", demonstrations(self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", demonstrations(self.heldout, self.seed, "heldout"))
        return Report(metrics=row_counts(train, held), notes=["The demonstrators are simulated."])

    def rehearsal(self) -> FieldGuideDemonstrations:
        return replace(self, rows=8, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.field_guide.demonstrations import demonstrations

        return rows_written(Rows.of_sample(self.rows, self.heldout, demonstrations(64, self.seed)))


@dataclass(frozen=True, kw_only=True)
class ConstraintDemonstrations(Stage):
    """Answers to prompts with verifiable constraints, of which a share obeys."""

    address = "demonstrations"
    does = "answers by demonstrators"
    amounts = (("rows", "{} rows"),)
    positive = ("rows",)
    rows: int = 600
    """Demonstrations that are trained on."""
    heldout: int = 100
    """Demonstrations with held-out topics, for measuring."""
    obeying: float = 0.5
    """Share of the answers that obey their constraints, from 0 to 1."""
    seed: int = 0
    """Seed of what is asked and how it is answered."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"messages", ...}."""
        from posttrain.data.constraint_prompts import demonstrations
        from posttrain.storage.jsonl import write_jsonl

        made = demonstrations(self.rows, self.seed, "train", self.obeying)
        train = write_jsonl(output / "train.jsonl", made)
        made = demonstrations(self.heldout, self.seed, "heldout", self.obeying)
        held = write_jsonl(output / "heldout.jsonl", made)
        return Report(metrics=row_counts(train, held), notes=["The demonstrators are simulated."])

    def rehearsal(self) -> ConstraintDemonstrations:
        return replace(self, rows=8, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.data.constraint_prompts import demonstrations

        some = demonstrations(64, self.seed, "train", self.obeying)
        return rows_written(Rows.of_sample(self.rows, self.heldout, some))


@dataclass(frozen=True, kw_only=True)
class EverydayDemonstrations(Stage):
    """Answers to everyday questions by simulated demonstrators of several manners. Held-out ones are about
    held-out topics; with ``validation`` about those that settings are chosen on.
    """

    address = "demonstrations"
    does = "answers by demonstrators"
    amounts = (("rows", "{} rows"),)
    version = 2  # half of those that name a feeling name another one than the user's
    positive = ("rows",)
    rows: int = 640
    """Demonstrations that are trained on."""
    heldout: int = 48
    """Demonstrations about held-out topics, for measuring."""
    validation: bool = False
    """Held-out topics are those that settings are chosen on, not those that metrics are quoted for."""
    seed: int = 0
    """Seed of what is asked and how it is answered."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"messages", ...}."""
        from posttrain.everyday.demonstrations import demonstrations
        from posttrain.storage.jsonl import write_jsonl

        split = "validation" if self.validation else "test"
        train = write_jsonl(output / "train.jsonl", demonstrations("train", self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", demonstrations(split, self.heldout, self.seed))
        return Report(metrics=row_counts(train, held), notes=["The demonstrators are simulated."])

    def rehearsal(self) -> EverydayDemonstrations:
        return replace(self, rows=8, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.everyday.demonstrations import demonstrations

        return rows_written(Rows.of_sample(self.rows, self.heldout, demonstrations("train", 64, self.seed)))


@dataclass(frozen=True, kw_only=True)
class DemonstrationRows(UserRowsStage):
    """The user's own rows {"messages": [...]}; ``heldout_share`` of the conversations, by a hash, is not
    trained on. ``rows`` takes the first so many, 0 takes all; ``skip_bad`` leaves faulty ones out.
    """

    address = "demonstrations"
    does = "answers by demonstrators"
    amounts = (("rows", "{} rows"),)
    version = 2  # several turns are put together from pieces; what looks like a special token is text
    reads: ClassVar[Reader] = staticmethod(read_messages)
    heldout_share: float = 0.1
    """Share of the conversations that is not trained on, chosen by a hash of the prompt."""

    def parts(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        return split(rows, "messages", self.heldout_share)

    def rehearsal(self) -> DemonstrationRows:
        return replace(self, rows=16, heldout_share=0.5)
