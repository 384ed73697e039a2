"""Several trainings in one table: what each row changes, what its records look like, what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posttrain.data.row_counts import ROWS
from posttrain.metrics import declare_metric
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage

RETURN_START_OF = declare_metric(
    "return_start/{training}",
    "Return of the first batch of {training}, mean over plays.",
    unit="return",
    better="up",
)
RETURN_FINAL_OF = declare_metric(
    "return_final/{training}",
    "Return of {training}, mean over its last tenth of steps.",
    unit="return",
    better="up",
)

COLUMNS = ("row", "what changes", "decisions", "steps a decision", "paid steps", "return", "most")


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A training, what it changes of the row before, and the most it could earn."""

    recorded_as = "posttrain.stages.side_by_side:Row"
    changes: str
    """What this training changes of the one before."""
    training: Stage
    """The training whose metrics are gathered."""
    most: float
    """The most that it could earn."""


@dataclass(frozen=True, kw_only=True)
class SideBySide(Stage):
    """Gathers the rows' own metrics; trains nothing."""

    address = "table"
    does = "table of trainings"
    rows: tuple[TableRow, ...]
    """The trainings in the order of the table."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``table.md``."""
        lines = [_line(COLUMNS), _line(tuple("---" for _ in COLUMNS))]
        metrics = ROWS.of(len(self.rows))
        for row in self.rows:
            values = inputs.of(row.training).values
            start, end = float(values["return_start"]), float(values["return_final"])
            decisions, steps = float(values["decisions_per_play"]), float(values["steps_per_play"])
            name = row.training.name
            metrics |= RETURN_START_OF.of(start, training=name) | RETURN_FINAL_OF.of(end, training=name)
            lines.append(
                _line(
                    (
                        name.replace("_", " "),
                        row.changes,
                        f"{decisions:.4g}",
                        f"{steps / decisions:.3g}",
                        f"{float(values['paid_steps_per_play']):.4g}",
                        f"{start:.3g} → {end:.3g}",
                        f"{row.most:g}",
                    )
                )
            )
        (output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return Report(metrics=metrics)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
