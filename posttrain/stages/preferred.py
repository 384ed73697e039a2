"""On-policy preferences without people: the policy's own answers, compared by a reward."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from posttrain.checks import model_fits, reward_fits
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import SAMPLES, Compute, Estimate, Inputs, Machine, Report, Stage, later
from posttrain.rollouts.pairing import best_and_worst

if TYPE_CHECKING:
    from posttrain.rewards.protocol import Episode, RewardSource


@dataclass(frozen=True, kw_only=True)
class ScoredPreferences(Stage):
    """``answers`` samples of ``policy`` to each of ``rows`` prompts, scored by ``reward`` (a reward model or
    a verifier), of which ``pick`` makes a comparison. Prompts whose answers are all worth the same give none.

    ``pick`` is a function of posttrain/rollouts/pairing.py. Where people compare, use pairs and labels.
    """

    address = "preferences"
    positive = ("rows", "temperature", "max_completion_length")
    at_least = MappingProxyType({"answers": 2})  # of one answer there is no comparison
    fits = model_fits.check
    needs = (SAMPLES,)
    policy: Stage
    prompts: Stage
    reward: RewardSource
    pick: Callable[[Sequence[float | None], random.Random], tuple[int, int] | None] = best_and_worst
    rows: int = 2000
    heldout: int = 300
    answers: int = 4
    temperature: float = 1.0
    max_completion_length: int = 48
    seed: int = 0
    compute: Compute = later("float32")  # what answers are sampled in

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt", "chosen", "rejected", "margin",
        ...}. Raises UserError where no prompt's answers differ.
        """
        from posttrain.engines.builtin import BuiltinEngine
        from posttrain.engines.protocol import Sampling
        from posttrain.models.chat import Chat
        from posttrain.models.loading import load_causal_lm, short
        from posttrain.rollouts.sample import scored_groups
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        model, tokenizer = load_causal_lm(inputs["policy"].path, device=machine.device)
        chat, engine = Chat(tokenizer), BuiltinEngine(model, dtype=short(self.compute))
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_completion_length)
        figures: dict[str, float | int | str] = {}
        with self.reward.open(inputs, machine) as scorer:
            for side, count in (("train", self.rows), ("heldout", self.heldout)):
                prompts = read_jsonl(inputs["prompts"].path / f"{side}.jsonl")[:count]
                groups: list[Any] = []
                rewards: list[Any] = []
                if prompts:
                    purpose = (self.seed, f"preferences/{side}")
                    groups, rewards = scored_groups(
                        engine, chat, prompts, scorer, sampling, self.answers, purpose
                    )
                rows = self._compared(groups, rewards, side)
                if side == "train" and not rows:
                    raise UserError(
                        f"no answers to any of {len(prompts)} prompts differ in reward; raise answers"
                    )
                write_jsonl(output / f"{side}.jsonl", rows)
                prefix = "" if side == "train" else "heldout_"
                figures |= {f"{prefix}rows": len(rows), f"{prefix}alike": len(groups) - len(rows)}
                if rows:
                    figures[f"{prefix}margin"] = sum(row["margin"] for row in rows) / len(rows)
        return Report(figures=figures)

    def _compared(
        self, groups: Sequence[Sequence[Episode]], rewards: Sequence[Sequence[float | None]], side: str
    ) -> list[dict[str, Any]]:
        rows = []
        for place, (episodes, scored) in enumerate(zip(groups, rewards, strict=True)):
            usable = [r if e.response.strip() else None for e, r in zip(episodes, scored, strict=True)]
            found = self.pick(usable, random.Random(f"pick:{self.seed}:{side}:{place}"))
            if found is not None:
                rows.append(_row(episodes, usable, found, place))
        return rows

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        return reward_fits.check(self.reward, inputs["prompts"].path / "train.jsonl")

    def rehearsal(self) -> ScoredPreferences:
        return replace(self, rows=8, heldout=8)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.pipeline.sizes import Rows, Size

        size, prompts = Size.of(inputs.get("policy")), Rows.of(inputs.get("prompts"))
        if size is None or prompts is None:
            return None
        answer = self.max_completion_length / 2  # where answers end by themselves
        train, held = min(self.rows, prompts.rows), min(self.heldout, prompts.heldout_rows)
        answers = (train + held) * self.answers
        tokens = 2 * answers * (prompts.row_tokens + answer)  # sampled and scored
        pairs = Rows(rows=train, heldout_rows=held, row_tokens=prompts.row_tokens + 2 * answer)
        return Estimate(
            tokens=int(tokens),
            operations=size.reading(tokens),
            bytes=size.sampling_bytes(answers, prompts.row_tokens + self.max_completion_length),
            expects=pairs.figures(),
        )


def _row(
    episodes: Sequence[Episode], rewards: Sequence[float | None], found: tuple[int, int], place: int
) -> dict[str, Any]:
    """A comparison as annotators make them, with the difference of the two rewards as its margin."""
    won, lost = (episodes[at] for at in found)
    high, low = (float(rewards[at] or 0.0) for at in found)
    return {
        "id": f"{won.prompt.get('id', place)}/{found[0]}-{found[1]}",
        "prompt": won.prompt["prompt"],
        "chosen": [{"role": "assistant", "content": won.response}],
        "rejected": [{"role": "assistant", "content": lost.response}],
        "chosen_ended": won.ended,
        "rejected_ended": lost.ended,
        "annotator": "reward",
        "tie": False,
        "margin": high - low,
    }
