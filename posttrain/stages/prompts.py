"""Prompts to answer: those that are trained on and those that are kept for evaluation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage


@dataclass(frozen=True, kw_only=True)
class FieldGuidePrompts(Stage):
    """Prompts of the embedded world; the held-out ones are fixed and frozen together with the gold reward."""

    address = "prompts"
    positive = ("rows",)
    rows: int = 4000
    seed: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "item"}."""
        from posttrain.data.jsonl import write_jsonl
        from posttrain.field_guide.freeze import heldout_prompts
        from posttrain.field_guide.tasks import items

        # another seed than the demonstrations', so that prompts are new where the world has enough of them
        train = write_jsonl(output / "train.jsonl", items("train", self.rows, self.seed + 1_000_000))
        held = write_jsonl(output / "heldout.jsonl", heldout_prompts())
        return Report(figures={"rows": train, "heldout_rows": held})


@dataclass(frozen=True, kw_only=True)
class ConstraintPrompts(Stage):
    """Prompts with verifiable constraints for a real model; held-out ones have held-out topics and
    wordings.
    """

    address = "prompts"
    positive = ("rows", "heldout")
    rows: int = 1000
    heldout: int = 200
    seed: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt": messages, "item"}."""
        from posttrain.data.constraint_prompts import prompts
        from posttrain.data.jsonl import write_jsonl

        train = write_jsonl(output / "train.jsonl", prompts("train", self.rows, self.seed + 1_000_000))
        held = write_jsonl(output / "heldout.jsonl", prompts("heldout", self.heldout, 0))
        return Report(figures={"rows": train, "heldout_rows": held})


@dataclass(frozen=True, kw_only=True)
class PromptRows(Stage):
    """The user's own rows {"prompt": ...}; up to ``heldout`` of them, at most a quarter, are kept for
    evaluation.
    """

    address = "prompts"
    source: SourceFile
    heldout: int = 200

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``. Raises UserError naming file, row and field."""
        from posttrain.data.jsonl import write_jsonl
        from posttrain.data.read import read_prompts

        rows = {
            json.dumps(row["prompt"], sort_keys=True): row
            for row in read_prompts(self.source.path, self.source.revision(machine.workspace))
        }
        order = sorted(rows, key=lambda text: hashlib.sha256(text.encode()).digest())
        kept = min(self.heldout, len(order) // 4)
        if len(order) < 2:
            raise UserError(f"{self.source.path}: {len(order)} different prompts; needs at least 2")
        named = [{"id": f"prompt-{place}", **rows[text]} for place, text in enumerate(order)]
        held = write_jsonl(output / "heldout.jsonl", named[: max(kept, 1)])
        train = write_jsonl(output / "train.jsonl", named[max(kept, 1) :])
        return Report(figures={"rows": train, "heldout_rows": held})


@dataclass(frozen=True, kw_only=True)
class PromptsOf(Stage):
    """The prompts of ``rows``, demonstrations or comparisons, where no prompts of their own were given."""

    address = "prompts"
    rows: Stage
    heldout: int = 200

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``; held-out rows give held-out prompts.

        Raises UserError where one side is empty.
        """
        from posttrain.data.jsonl import read_jsonl, write_jsonl

        found = {}
        for side in ("train", "heldout"):
            asked = {}
            for row in read_jsonl(inputs["rows"].path / f"{side}.jsonl"):
                prompt = row["prompt"] if "prompt" in row else _until_the_answer(row["messages"])
                asked[json.dumps(prompt, sort_keys=True)] = prompt
            rows = [
                {"id": f"{side}-{place}", "prompt": prompt} for place, prompt in enumerate(asked.values())
            ]
            found[side] = rows[: self.heldout] if side == "heldout" else rows
        for side, rows in found.items():
            if not rows:
                raise UserError(f"the {side} rows hold no prompt; give prompts=FILE, or more rows")
            write_jsonl(output / f"{side}.jsonl", rows)
        return Report(figures={"rows": len(found["train"]), "heldout_rows": len(found["heldout"])})


def _until_the_answer(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A conversation up to its last answer."""
    last = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:last]
