"""Who prefers what: simulated annotators, or the user's own comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.read import read_comparisons, read_ratings
from posttrain.data.row_counts import ROWS, heldout
from posttrain.data.rows import JsonRow, Row
from posttrain.data.split import split
from posttrain.data.user_rows import Reader
from posttrain.feedback.simulated import ANNOTATORS, Annotator, decided, label
from posttrain.field_guide.freeze import GOLD_VERSION
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.stages.fitting import TIES
from posttrain.stages.user_rows_stage import UserRowsStage

AGREEMENT = declare_metric(
    "agreement",
    "Share of two annotators' choices on one pair that are the same, mean over pairs.",
    unit="share of choices",
    better="up",
    title="annotators who agree on a pair",
)
ALPHA = declare_metric(
    "krippendorff_alpha",
    "Krippendorff's alpha of the annotators: agreement beyond chance; 1 is perfect, 0 chance.",
    unit="alpha",
    better="up",
    title="Krippendorff's alpha",
)

LOOK = 0.15e-3  # seconds a simulated annotator takes over a pair, on one core of 2024


@dataclass(frozen=True, kw_only=True)
class Annotation(Stage):
    """Labels by simulated annotators with known noise and biases; every row says that it is simulated.

    ``per_pair`` of the annotators, drawn by the seed, look at each pair.
    """

    address = "labels"
    does = "preferences"
    amounts = (("per_pair", "{} annotators each"),)
    reads_gold = True  # simulated annotators compare by it
    version = GOLD_VERSION
    positive = ("per_pair", "heldout_per_pair")
    pairs: Stage
    """The pairs of answers that are compared."""
    annotators: tuple[Annotator, ...] = ANNOTATORS
    """The simulated annotators."""
    per_pair: int = 3
    """Annotators who look at each training pair, drawn by the seed; at most as many as there are."""
    heldout_per_pair: int = 5
    """Annotators who look at each held-out pair."""
    seed: int = 0
    """Seed of who looks at which pair and of their noise."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt", "chosen", "rejected", ...}."""
        from posttrain.feedback.agreement import agreement, choices_of
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        metrics: dict[str, Metric] = {}
        for side, wanted in (("train", self.per_pair), ("heldout", self.heldout_per_pair)):
            pairs = read_jsonl(inputs["pairs"].path / f"{side}.jsonl")
            if side == "train" and not pairs:
                raise UserError(
                    "no two answers to a prompt differ, so there is nothing to compare; raise pairs.answers"
                )
            per_pair = min(wanted, len(self.annotators))
            rows = label(pairs, self.annotators, self.seed, per_pair)
            write_jsonl(output / f"{side}.jsonl", _with_endings(rows, pairs))
            comparisons, ties = decided(rows)
            counted = ROWS.of(len(comparisons)) | TIES.of(ties)
            metrics |= counted if side == "train" else heldout(counted)
            if per_pair > 1:
                statistics = agreement(choices_of(rows))
                metrics |= AGREEMENT.of(statistics.raw) | ALPHA.of(statistics.alpha)
        return Report(
            metrics=metrics, notes=["Every annotator is simulated: " + _names(self.annotators) + "."]
        )

    def work(self, inputs: Inputs) -> StageWork | None:
        pairs = Rows.of(inputs.get("pairs"))
        if pairs is None:
            return None
        looks = pairs.rows * self.per_pair + pairs.heldout_rows * self.heldout_per_pair
        return rows_written(pairs, seconds=LOOK * looks)


@dataclass(frozen=True, kw_only=True)
class ComparisonRows(UserRowsStage):
    """The user's own rows {"prompt", "chosen", "rejected"}; ``heldout_share`` of the prompts is not trained
    on. ``rows`` takes the first so many pairs, 0 takes all; ``skip_bad`` leaves faulty rows out. Rows about
    one pair are votes: they become one row with the share that chose the better answer.
    """

    address = "labels"
    does = "preferences"
    amounts = (("rows", "{} rows"),)
    version = 3  # of several turns only the last answer is learned from; special tokens in a text are text
    reads: ClassVar[Reader] = staticmethod(read_comparisons)
    heldout_share: float = 0.1
    """Share of the prompts whose comparisons are not trained on, chosen by a hash of the prompt."""

    def parts(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        named = [{"id": f"row-{number}", **row} for number, row in enumerate(rows, 1)]
        return split(named, "prompt", self.heldout_share)

    def rehearsal(self) -> ComparisonRows:
        return replace(self, rows=16, heldout_share=0.5)


@dataclass(frozen=True, kw_only=True)
class RatedRows(ComparisonRows):
    """The user's own rows {"prompt", "completion", "label"}, each answer rated on its own (for KTO)."""

    reads: ClassVar[Reader] = staticmethod(read_ratings)


def _with_endings(rows: Sequence[Row], pairs: Sequence[JsonRow]) -> list[Row]:
    """Whether each answer ended by itself, so that a reward model reads it as it happened."""
    ended = {pair["id"]: (pair["ended_a"], pair["ended_b"]) for pair in pairs}
    made = []
    for row in rows:
        a, b = ended[row["id"]]
        chosen, rejected = (b, a) if row["choice"] == "b" else (a, b)
        made.append({**row, "chosen_ended": chosen, "rejected_ended": rejected})
    return made


def _names(annotators: Sequence[Annotator]) -> str:
    return ", ".join(annotator.name for annotator in annotators)
