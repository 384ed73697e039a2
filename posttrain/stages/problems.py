"""Problems whose answers a program can check, and prompts of several kinds in one deck."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from posttrain.pipeline.sizes import loaded, tokens_of
from posttrain.pipeline.stage import Estimate, Inputs, Machine, Report, Stage


@dataclass(frozen=True, kw_only=True)
class SumLines(Stage):
    """Sums as lines of a page, for a base model that has seen no chat. Held-out operands occur nowhere that
    trains, and their prompts are the same for every seed.
    """

    address = "prompts"
    positive = ("rows", "heldout")
    rows: int = 4000
    heldout: int = 800
    seed: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": text, "stop", "answer",
        "item"}.
        """
        from posttrain.data.jsonl import write_jsonl
        from posttrain.field_guide.problems import sum_lines

        train = write_jsonl(output / "train.jsonl", sum_lines("train", self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", sum_lines("heldout", self.heldout, 0))
        return Report(figures={"rows": train, "heldout_rows": held})

    def rehearsal(self) -> SumLines:
        return replace(self, rows=8, heldout=8)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.field_guide.problems import sum_lines

        return loaded(self.rows, self.heldout, tokens_of(sum_lines("heldout", 16, 0)))


@dataclass(frozen=True, kw_only=True)
class Questions(Stage):
    """Sums to work out and words to reverse or to count, asked in a chat; operands, words and wordings of the
    held-out ones occur nowhere that trains.
    """

    address = "problems"
    positive = ("rows", "heldout")
    rows: int = 3000
    heldout: int = 400
    seed: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "answer", "item"}."""
        from posttrain.data.jsonl import write_jsonl
        from posttrain.field_guide.problems import questions

        train = write_jsonl(output / "train.jsonl", questions("train", self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", questions("heldout", self.heldout, 0))
        return Report(figures={"rows": train, "heldout_rows": held})

    def rehearsal(self) -> Questions:
        return replace(self, rows=9, heldout=9)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.field_guide.problems import questions

        return loaded(self.rows, self.heldout, tokens_of(questions("heldout", 16, 0)))


@dataclass(frozen=True, kw_only=True)
class WorkedAnswers(Stage):
    """A few of these questions with their working: the cold start of reasoning (DeepSeek-AI 2025, section
    2.3.1).
    """

    address = "worked"
    positive = ("rows", "heldout")
    rows: int = 400
    heldout: int = 100
    seed: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "messages"}."""
        from posttrain.data.jsonl import write_jsonl
        from posttrain.field_guide.problems import worked_answers

        train = write_jsonl(output / "train.jsonl", worked_answers("train", self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", worked_answers("heldout", self.heldout, 0))
        return Report(figures={"rows": train, "heldout_rows": held})

    def rehearsal(self) -> WorkedAnswers:
        return replace(self, rows=9, heldout=9)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.field_guide.problems import worked_answers

        return loaded(self.rows, self.heldout, tokens_of(worked_answers("heldout", 16, 0)))
