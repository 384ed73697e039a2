"""Prompts that reasoning-gym generates, for the reward of that name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.row_counts import row_counts
from posttrain.metrics import declare_metric
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage

ALSO_HELD_OUT = declare_metric(
    "also_held_out",
    "Training questions that were left out because they are held out too.",
    unit="rows",
    better="down",
)


@dataclass(frozen=True, kw_only=True)
class ReasoningGymTasks(Stage):
    """``tasks`` of reasoning-gym in turn, at its own settings. Held-out prompts are the same for every seed,
    and none of them is trained on. ``instruction`` stands below each question.
    """

    address = "prompts"
    does = "problems"
    amounts = (("rows", "{} rows"),)
    positive = ("rows", "heldout")
    tasks: tuple[str, ...]
    """Names of the data sets of reasoning-gym, which are asked in turn."""
    rows: int = 2000
    """Problems that are trained on."""
    heldout: int = 400
    """Problems that are not trained on, the same for every seed."""
    instruction: str = "Give the final answer between <answer> and </answer>."
    """Text below each question, which says where the answer belongs."""
    seed: int = 0
    """Seed of the training problems."""

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        """Raises UserError where reasoning-gym is not installed or has no such task."""
        from posttrain.data.gym_tasks import check_tasks

        check_tasks(self.tasks)
        return []

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "gym", "answer"}.

        Raises UserError where nothing is left to train on.
        """
        from posttrain.data.gym_tasks import tasks_of
        from posttrain.storage.jsonl import write_jsonl

        held = list(tasks_of(self.tasks, self.heldout, 0, self.instruction))
        heldout_questions = {row["gym"]["question"] for row in held}
        rows = list(tasks_of(self.tasks, self.rows, self.seed + 1_000_000, self.instruction))
        train = [row for row in rows if row["gym"]["question"] not in heldout_questions]
        if not train:
            raise UserError(f"every question of {', '.join(self.tasks)} is held out; lower heldout")
        write_jsonl(output / "train.jsonl", train)
        write_jsonl(output / "heldout.jsonl", held)
        twice = len(rows) - len(train)
        return Report(metrics=row_counts(len(train), len(held)) | ALSO_HELD_OUT.of(twice))

    def rehearsal(self) -> ReasoningGymTasks:
        return replace(self, rows=16, heldout=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        from posttrain.data.gym_tasks import check_tasks, tasks_of

        check_tasks(self.tasks)
        return rows_written(
            Rows.of_sample(self.rows, self.heldout, tasks_of(self.tasks, 16, 0, self.instruction))
        )
