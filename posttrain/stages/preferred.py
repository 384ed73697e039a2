"""On-policy preferences without people: the policy's own answers, compared by a reward."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from posttrain.checks import model_fits, reward_fits
from posttrain.cost.sizes import Rows
from posttrain.data.row_counts import ROWS, heldout
from posttrain.data.rows import Row
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import ModelStage, PromptStage
from posttrain.pipeline.stage import SAMPLES, Compute, Inputs, Machine, Report, Stage, later
from posttrain.rollouts.pair_rules import best_and_worst
from posttrain.stages.sampled_answers import SamplesAnswers

if TYPE_CHECKING:
    from posttrain.rewards.base import Episode, RewardSource

ALIKE = declare_metric(
    "alike",
    "Prompts whose answers all score the same, so that none is preferred.",
    unit="prompts",
    better="down",
)
MARGIN = declare_metric(
    "margin",
    "Score of the chosen answer less that of the rejected one, mean over comparisons.",
    unit="reward",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class ScoredPreferences(SamplesAnswers, Stage):
    """``answers`` samples of ``policy`` to each of ``rows`` prompts, scored by ``reward`` (a reward model or
    a verifier), of which ``pick`` makes a comparison. Prompts whose answers are all worth the same give none.

    ``pick`` is a function of posttrain/rollouts/pair_rules.py. Where people compare, use pairs and labels.
    """

    address = "preferences"
    does = "comparisons by a reward"
    positive = ("rows", "temperature", "max_completion_length")
    at_least = MappingProxyType({"answers": 2})  # of one answer there is no comparison
    fits = model_fits.check
    usable = model_fits.usable
    needs = (SAMPLES,)
    policy: ModelStage
    """The model that answers."""
    prompts: PromptStage
    """The prompts that are answered."""
    reward: RewardSource
    """What scores the answers: a reward model or a verifier."""
    pick: Callable[[Sequence[float | None], random.Random], tuple[int, int] | None] = best_and_worst
    """Which two scored answers become a comparison: a function of ``posttrain/rollouts/pair_rules.py``."""
    rows: int = 2000
    """Training prompts that are answered, the first ones."""
    heldout: int = 300
    """Held-out prompts that are answered, the first ones."""
    answers: int = 4
    """Answers to each prompt, of which two are compared."""
    temperature: float = 1.0
    """Sampling temperature; larger makes the answers more different."""
    max_completion_length: int = 48
    """Longest answer in tokens."""
    seed: int = 0
    """Seed of the answers and of the choice among equals."""
    compute: Compute = later("float32")
    """Number format of matrix products in sampling."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt", "chosen", "rejected", "margin",
        ...}. Raises UserError where no prompt's answers differ.
        """
        from posttrain.rewards.base import opened
        from posttrain.rollouts.sample import scored_groups
        from posttrain.storage.chunks import Chunks
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        engine, chat, sampling = self.opened(inputs, machine)
        sampled = partial(scored_groups, note=machine.note)
        metrics: dict[str, Metric] = {}
        with opened(self.reward, inputs, machine) as scorer:
            for side, count in (("train", self.rows), ("heldout", self.heldout)):
                prompts = read_jsonl(inputs["prompts"].path / f"{side}.jsonl")[:count]
                groups: Sequence[Sequence[Episode]] = []
                rewards: Sequence[Sequence[float | None]] = []
                if prompts:
                    purpose = (self.seed, f"preferences/{side}")
                    chunks = Chunks(machine.scratch, side)
                    groups, rewards = sampled(
                        engine, chat, prompts, scorer, sampling, self.answers, purpose, chunks=chunks
                    )
                rows = self._compared(groups, rewards, side)
                if side == "train" and not rows:
                    raise UserError(
                        f"no answers to any of {len(prompts)} prompts differ in reward; raise answers"
                    )
                write_jsonl(output / f"{side}.jsonl", rows)
                counted = ROWS.of(len(rows)) | ALIKE.of(len(groups) - len(rows))
                if rows:
                    counted |= MARGIN.of(sum(row["margin"] for row in rows) / len(rows))
                metrics |= counted if side == "train" else heldout(counted)
        return Report(metrics=metrics)

    def _compared(
        self, groups: Sequence[Sequence[Episode]], rewards: Sequence[Sequence[float | None]], side: str
    ) -> list[Row]:
        rows = []
        for index, (episodes, scored) in enumerate(zip(groups, rewards, strict=True)):
            usable = [r if e.response.strip() else None for e, r in zip(episodes, scored, strict=True)]
            pair = self.pick(usable, random.Random(f"pick:{self.seed}:{side}:{index}"))
            if pair is not None:
                rows.append(_row(episodes, usable, pair, index))
        return rows

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        return reward_fits.check(self.reward, inputs["prompts"].path / "train.jsonl")

    def rehearsal(self) -> ScoredPreferences:
        return replace(self, rows=8, heldout=8)

    def written(self, rows: int, heldout_rows: int, prompt: float, answer: float) -> Rows:
        """At most one comparison a prompt."""
        return Rows(rows=rows, heldout_rows=heldout_rows, row_tokens=prompt + 2 * answer)


def _row(
    episodes: Sequence[Episode], rewards: Sequence[float | None], pair: tuple[int, int], index: int
) -> Row:
    """A comparison as annotators make them, with the difference of the two rewards as its margin."""
    won, lost = (episodes[at] for at in pair)
    high, low = (float(rewards[at] or 0.0) for at in pair)
    return {
        "id": f"{won.prompt.get('id', index)}/{pair[0]}-{pair[1]}",
        "prompt": won.prompt["prompt"],
        "chosen": [{"role": "assistant", "content": won.response}],
        "rejected": [{"role": "assistant", "content": lost.response}],
        "chosen_ended": won.ended,
        "rejected_ended": lost.ended,
        "annotator": "reward",
        "tie": False,
        "margin": high - low,
    }
