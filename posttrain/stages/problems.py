"""Problems whose answers a program can check, and prompts of several kinds in one deck."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.read import read_problems
from posttrain.data.row_counts import row_counts
from posttrain.data.rows import Row
from posttrain.data.split import split
from posttrain.data.user_rows import Reader
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, later
from posttrain.stages.user_rows_stage import UserRowsStage

if TYPE_CHECKING:
    from posttrain.field_guide.tasks import Split


@dataclass(frozen=True, kw_only=True)
class SumLines(Stage):
    """Sums as lines of a page, for a base model that has seen no chat. Held-out operands occur nowhere that
    trains, and their prompts are the same for every seed.
    """

    address = "prompts"
    does = "problems"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    rows: int = 4000
    """Problems that are trained on."""
    heldout: int = 800
    """Problems with held-out operands, the same for every seed."""
    seed: int = 0
    """Seed of the training problems."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": text, "stop", "answer",
        "item"}.
        """
        from posttrain.field_guide.problems import sum_lines
        from posttrain.storage.jsonl import write_jsonl

        train = write_jsonl(output / "train.jsonl", sum_lines("train", self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", sum_lines("heldout", self.heldout, 0))
        return Report(metrics=row_counts(train, held))

    def rehearsal(self) -> SumLines:
        return replace(self, rows=8, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.field_guide.problems import sum_lines

        return rows_written(Rows.of_sample(self.rows, self.heldout, sum_lines("heldout", 16, 0)))


@dataclass(frozen=True, kw_only=True)
class Questions(Stage):
    """Sums to work out and words to reverse or to count, asked in a chat; operands and words of the held-out
    ones occur nowhere that trains, and their wordings neither unless ``known_wordings``.
    """

    address = "problems"
    does = "problems"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    rows: int = 3000
    """Problems that are trained on."""
    heldout: int = 400
    """Problems with held-out operands and words, the same for every seed."""
    seed: int = 0
    """Seed of the training problems."""
    known_wordings: bool = later(False)
    """Held-out problems are worded as the training ones; false gives them held-out wordings."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "answer", "item"}."""
        from posttrain.field_guide.problems import questions
        from posttrain.storage.jsonl import write_jsonl

        train = write_jsonl(output / "train.jsonl", questions("train", self.rows, self.seed))
        wording_split: Split | None = "train" if self.known_wordings else None
        held = write_jsonl(output / "heldout.jsonl", questions("heldout", self.heldout, 0, wording_split))
        return Report(metrics=row_counts(train, held))

    def rehearsal(self) -> Questions:
        return replace(self, rows=9, heldout=9)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.field_guide.problems import questions

        return rows_written(Rows.of_sample(self.rows, self.heldout, questions("heldout", 16, 0)))


@dataclass(frozen=True, kw_only=True)
class WorkedAnswers(Stage):
    """A few of these questions with their working: the cold start of reasoning (DeepSeek-AI 2025, section
    2.3.1).
    """

    address = "worked"
    does = "worked answers"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    rows: int = 400
    """Worked answers that are trained on."""
    heldout: int = 100
    """Worked answers to held-out problems, the same for every seed."""
    seed: int = 0
    """Seed of the training problems."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "messages"}."""
        from posttrain.field_guide.problems import worked_answers
        from posttrain.storage.jsonl import write_jsonl

        train = write_jsonl(output / "train.jsonl", worked_answers("train", self.rows, self.seed))
        held = write_jsonl(output / "heldout.jsonl", worked_answers("heldout", self.heldout, 0))
        return Report(metrics=row_counts(train, held))

    def rehearsal(self) -> WorkedAnswers:
        return replace(self, rows=9, heldout=9)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.field_guide.problems import worked_answers

        return rows_written(Rows.of_sample(self.rows, self.heldout, worked_answers("heldout", 16, 0)))


@dataclass(frozen=True, kw_only=True)
class ProblemRows(UserRowsStage):
    """The user's own rows {"prompt", "answer"}; with ``stop`` a prompt is plain text to be gone on with until
    that is said. ``heldout_share`` of the prompts, by a hash, is not trained on. ``rows`` takes the first so
    many, 0 takes all; ``skip_bad`` leaves faulty ones out.
    """

    address = "prompts"
    does = "problems"
    amounts = (("rows", "{} rows"),)
    reads: ClassVar[Reader] = staticmethod(read_problems)
    heldout_share: float = 0.1
    """Share of the problems that is not trained on, chosen by a hash of the prompt."""

    def parts(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """Raises UserError where nothing is held out to measure with."""
        named = [{"id": f"problem-{number}", **row} for number, row in enumerate(rows, 1)]
        train, held = split(named, "prompt", self.heldout_share)
        if not held:
            raise UserError(f"none of {len(rows)} problems is held out; give more of them")
        return train, held

    def rehearsal(self) -> ProblemRows:
        return replace(self, rows=16, heldout_share=0.5)
