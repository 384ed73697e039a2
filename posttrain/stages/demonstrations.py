"""Demonstrations: what people answered, to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posttrain.data.split import split
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage


@dataclass(frozen=True, kw_only=True)
class FieldGuideDemonstrations(Stage):
    """Answers by simulated demonstrators of three levels of quality; held-out ones are about held-out
    things.
    """

    address = "demonstrations"
    positive = ("rows",)
    rows: int = 8000
    heldout: int = 400
    seed: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"messages", ...}."""
        from posttrain.data.jsonl import write_jsonl
        from posttrain.field_guide.demonstrations import demonstrations

        train = write_jsonl(output / "train.jsonl", demonstrations(self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", demonstrations(self.heldout, self.seed, "heldout"))
        return Report(
            figures={"rows": train, "heldout_rows": held}, notes=["The demonstrators are simulated."]
        )

    def rehearsal(self) -> FieldGuideDemonstrations:
        return FieldGuideDemonstrations(name=self.name, rows=8, heldout=8, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class ConstraintDemonstrations(Stage):
    """Answers to prompts with verifiable constraints, of which a share obeys."""

    address = "demonstrations"
    positive = ("rows",)
    rows: int = 600
    heldout: int = 100
    obeying: float = 0.5
    seed: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"messages", ...}."""
        from posttrain.data.constraint_prompts import demonstrations
        from posttrain.data.jsonl import write_jsonl

        made = demonstrations(self.rows, self.seed, "train", self.obeying)
        train = write_jsonl(output / "train.jsonl", made)
        made = demonstrations(self.heldout, self.seed, "heldout", self.obeying)
        held = write_jsonl(output / "heldout.jsonl", made)
        return Report(
            figures={"rows": train, "heldout_rows": held}, notes=["The demonstrators are simulated."]
        )


@dataclass(frozen=True, kw_only=True)
class DemonstrationRows(Stage):
    """The user's own rows {"messages": [...]}; ``heldout_share`` of the conversations, by a hash, is not
    trained on.
    """

    address = "demonstrations"
    source: SourceFile
    heldout_share: float = 0.1

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``. Raises UserError naming file, row and field."""
        from posttrain.data.jsonl import write_jsonl
        from posttrain.data.read import read_messages

        rows = read_messages(self.source.path, self.source.revision(machine.workspace))
        train, held = split(rows, "messages", self.heldout_share)
        write_jsonl(output / "train.jsonl", train)
        write_jsonl(output / "heldout.jsonl", held)
        return Report(figures={"rows": len(train), "heldout_rows": len(held)})
