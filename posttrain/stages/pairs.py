"""Pairs of answers of the current policy, to be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from posttrain.checks import model_fits
from posttrain.cost.sizes import Rows
from posttrain.data.row_counts import ROWS, heldout
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.kinds import ModelStage, PromptStage
from posttrain.pipeline.stage import SAMPLES, Compute, Inputs, Machine, Report, Stage, later
from posttrain.stages.fitting import EQUAL, TOO_LONG
from posttrain.stages.sampled_answers import SamplesAnswers

ENDED = declare_metric(
    "ended",
    "Share of the answers in pairs that ended by themselves before the length limit.",
    unit="share of answers",
    better="up",
    where="report",
    title="answers that ended by themselves",
)


@dataclass(frozen=True, kw_only=True)
class ComparisonPairs(SamplesAnswers, Stage):
    """``answers`` samples of ``policy`` at ``temperature`` to each prompt, and every pair of different
    ones.
    """

    address = "pairs"
    does = "answers in pairs"
    positive = ("rows", "temperature", "max_completion_length")
    at_least = MappingProxyType({"answers": 2})  # of one answer there is no pair
    fits = model_fits.check
    usable = model_fits.usable
    needs = (SAMPLES,)
    policy: ModelStage
    """The model that answers."""
    prompts: PromptStage
    """The prompts that are answered."""
    rows: int = 2000
    """Training prompts that are answered, the first ones."""
    heldout: int = 300
    """Held-out prompts that are answered, the first ones."""
    answers: int = 3
    """Answers to each prompt; every two that differ are a pair, so 4 answers give up to 6 pairs."""
    temperature: float = 1.0
    """Sampling temperature; larger makes the answers more different."""
    max_completion_length: int = 48
    """Longest answer in tokens."""
    seed: int = 0
    """Seed of the answers."""
    compute: Compute = later("float32")
    """Number format of matrix products in sampling."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt", "item", "a", "b", "ended_a",
        "ended_b"}.
        """
        from posttrain.core.seeds import derive
        from posttrain.rollouts.paired_answers import paired
        from posttrain.rollouts.sample import encode_prompts, sample_in_chunks
        from posttrain.storage.chunks import Chunks
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        engine, chat, sampling = self.opened(inputs, machine)
        metrics: dict[str, Metric] = {}
        for side, count in (("train", self.rows), ("heldout", self.heldout)):
            prompts = read_jsonl(inputs["prompts"].path / f"{side}.jsonl")[:count]
            asked, too_long = encode_prompts(chat, prompts, engine.context - sampling.max_tokens)
            seeds = partial(derive, self.seed, f"pairs/{side}")
            chunks = Chunks(machine.scratch, side)
            episodes = sample_in_chunks(
                engine, chat, asked, sampling, seeds, self.answers, chunks=chunks, note=machine.note
            )
            rows, equal = paired(episodes, self.answers)
            write_jsonl(output / f"{side}.jsonl", rows)
            counted = ROWS.of(len(rows)) | EQUAL.of(equal) | TOO_LONG.of(too_long)
            counted |= ENDED.of(sum(e.ended for e in episodes) / max(1, len(episodes)))
            metrics |= counted if side == "train" else heldout(counted)
        return Report(metrics=metrics)

    def summary(self) -> str:
        return f"{self.answers} answers a prompt, in pairs"

    def rehearsal(self) -> ComparisonPairs:
        return replace(self, rows=8, heldout=8)

    def written(self, rows: int, heldout_rows: int, prompt: float, answer: float) -> Rows:
        """Every pair of the answers to a prompt."""
        each = self.answers * (self.answers - 1) // 2
        return Rows(
            rows=rows * each,
            heldout_rows=heldout_rows * each,
            row_tokens=prompt + 2 * answer,
            fresh=1 / (self.answers - 1),
        )
