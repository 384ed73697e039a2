"""Rows of several products in one, by weight."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posttrain.cost.sizes import Rows
from posttrain.cost.work import StageWork, rows_written
from posttrain.data.row_counts import ROWS, heldout
from posttrain.data.rows import Row
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage

ROWS_OF = declare_metric(
    "rows/{source}",
    "Rows of the mixture that come from {source}.",
    unit="rows",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A product with rows, under the name by which the mixture counts them."""

    name: str
    """Name of the source in the mixed rows and in metrics."""
    rows: Stage
    """The stage whose rows are mixed in."""
    weight: float = 1.0
    """Share of the mixture, relative to the other sources' weights."""


@dataclass(frozen=True, kw_only=True)
class Mixture(Stage):
    """``rows`` rows, of which each source gives its ``weight`` as a share; without ``rows`` as many as the
    weights allow. No row is used twice; held-out rows are mixed alike, as many as there are.

    Demonstrations with demonstrations, prompts with prompts, comparisons with comparisons: rows stay what
    they are, each with the ``source`` that it came from.
    """

    address = "mixture"
    does = "mixed demonstrations"
    amounts = (("rows", "{} rows"),)
    sources: tuple[Source, ...]
    """The products whose rows are mixed."""
    rows: int = 0
    """Rows of the mixture; 0 takes as many as the weights allow without using a row twice."""
    seed: int = 0
    """Seed of which rows are taken, and in which order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [source.name for source in self.sources]
        if not names or len(set(names)) < len(names) or not all(s.weight > 0 for s in self.sources):
            raise UserError(
                f"a mixture of {names}: expected at least one source, each with a name of its own and a "
                "weight above 0"
            )

    def size(self) -> str:
        weights = " : ".join(f"{source.weight:g} {source.name}" for source in self.sources)
        return ", ".join(filter(None, [super().size(), weights]))

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``. Raises UserError where a source has too few rows."""
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        metrics: dict[str, Metric] = {}
        for side in ("train", "heldout"):
            given = [read_jsonl(inputs.of(source.rows).path / f"{side}.jsonl") for source in self.sources]
            sizes = [len(rows) for rows in given]
            counts = self.counts(sizes, self.rows if side == "train" else 0)
            for source, count, most in zip(self.sources, counts, sizes, strict=True):
                if count > most:
                    raise UserError(
                        f"{source.name} has {most} rows and its weight asks for {count} of {self.rows}: "
                        "lower rows or its weight, or give it more"
                    )
            mixed = self._mixed(given, counts, side)
            write_jsonl(output / f"{side}.jsonl", mixed)
            counted = ROWS.of(len(mixed))
            for source, count in zip(self.sources, counts, strict=True):
                counted |= ROWS_OF.of(count, source=source.name)
            metrics |= counted if side == "train" else heldout(counted)
        return Report(metrics=metrics)

    def counts(self, sizes: Sequence[int], wanted: int) -> list[int]:
        """How many rows of each source; where nothing is wanted, the most without one used twice."""
        total = sum(source.weight for source in self.sources)
        shares = [source.weight / total for source in self.sources]
        if not wanted:
            wanted = int(min(most / share for most, share in zip(sizes, shares, strict=True)) + 1e-9)
        exact = [wanted * share for share in shares]
        counts = [int(amount + 1e-9) for amount in exact]
        by_rest = sorted(range(len(exact)), key=lambda at: counts[at] - exact[at])
        for at in by_rest[: wanted - sum(counts)]:  # largest remainders, so that they add up
            counts[at] += 1
        return counts

    def _mixed(self, given: Sequence[list[Row]], counts: Sequence[int], side: str) -> list[Row]:
        lot = random.Random(f"mixture:{self.seed}:{side}")
        mixed = []
        for source, rows, count in zip(self.sources, given, counts, strict=True):
            places = sorted(lot.sample(range(len(rows)), count))
            mixed += [_named(rows[at], source.name, at) for at in places]
        lot.shuffle(mixed)
        return mixed

    def rehearsal(self) -> Mixture:
        return replace(self, rows=0)

    def work(self, inputs: Inputs) -> StageWork | None:
        by_source = [Rows.of(inputs.of(s.rows)) if inputs.has(s.rows) else None for s in self.sources]
        if any(rows is None for rows in by_source):
            return None
        sizes = [rows for rows in by_source if rows is not None]
        train = sum(self.counts([rows.rows for rows in sizes], self.rows))
        held = sum(self.counts([rows.heldout_rows for rows in sizes], 0))
        weights = [source.weight for source in self.sources]
        tokens = sum(w * rows.row_tokens for w, rows in zip(weights, sizes, strict=True)) / sum(weights)
        fresh = sum(w * rows.fresh for w, rows in zip(weights, sizes, strict=True)) / sum(weights)
        return rows_written(Rows(rows=train, heldout_rows=held, row_tokens=tokens, fresh=fresh))


def _named(row: Row, source: str, index: int) -> Row:
    """The row with where it came from; ids of two sources never meet."""
    return {**row, "id": f"{source}:{row.get('id', index)}", "source": source}
