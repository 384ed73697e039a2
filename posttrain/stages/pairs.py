"""Pairs of answers of the current policy, to be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from posttrain.checks import model_fits
from posttrain.pipeline.stage import SAMPLES, Compute, Estimate, Inputs, Machine, Report, Stage, later


@dataclass(frozen=True, kw_only=True)
class ComparisonPairs(Stage):
    """``answers`` samples of ``policy`` at ``temperature`` to each prompt, and every pair of different
    ones.
    """

    address = "pairs"
    positive = ("rows", "temperature", "max_completion_length")
    at_least = MappingProxyType({"answers": 2})  # of one answer there is no pair
    fits = model_fits.check
    needs = (SAMPLES,)
    policy: Stage
    prompts: Stage
    rows: int = 2000  # prompts that are answered
    heldout: int = 300  # held-out prompts that are answered
    answers: int = 3
    temperature: float = 1.0
    max_completion_length: int = 48
    seed: int = 0
    compute: Compute = later("float32")  # what answers are sampled in

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "prompt", "item", "a", "b", "ended_a",
        "ended_b"}.
        """
        from posttrain.core.seeds import derive
        from posttrain.engines.builtin import BuiltinEngine
        from posttrain.engines.protocol import Sampling
        from posttrain.models.chat import Chat
        from posttrain.models.loading import load_causal_lm, short
        from posttrain.rollouts.paired_answers import paired
        from posttrain.rollouts.sample import ask, sample
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        model, tokenizer = load_causal_lm(inputs["policy"].path, device=machine.device)
        chat, engine = Chat(tokenizer), BuiltinEngine(model, dtype=short(self.compute))
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_completion_length)
        figures: dict[str, float | int | str] = {}
        for side, count in (("train", self.rows), ("heldout", self.heldout)):
            prompts = read_jsonl(inputs["prompts"].path / f"{side}.jsonl")[:count]
            asked, too_long = ask(chat, prompts, engine.context - sampling.max_tokens)
            repeated = [one for one in asked for _ in range(self.answers)]
            seeds = [derive(self.seed, f"pairs/{side}", row) for row in range(len(repeated))]
            episodes = sample(engine, chat, repeated, sampling, seeds)
            rows, equal = paired(episodes, self.answers)
            write_jsonl(output / f"{side}.jsonl", rows)
            prefix = "" if side == "train" else "heldout_"
            figures |= {f"{prefix}rows": len(rows), f"{prefix}equal": equal, f"{prefix}too_long": too_long}
            figures[f"{prefix}ended"] = sum(e.ended for e in episodes) / max(1, len(episodes))
        return Report(figures=figures)

    def rehearsal(self) -> ComparisonPairs:
        return replace(self, rows=8, heldout=8)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.pipeline.sizes import Rows, Size

        size, prompts = Size.of(inputs.get("policy")), Rows.of(inputs.get("prompts"))
        if size is None or prompts is None:
            return None
        answer = self.max_completion_length / 2  # where answers end by themselves
        train, held = min(self.rows, prompts.rows), min(self.heldout, prompts.heldout_rows)
        answers = (train + held) * self.answers
        tokens = answers * (prompts.row_tokens + answer)
        each = self.answers * (self.answers - 1) // 2
        pairs = Rows(
            rows=train * each,
            heldout_rows=held * each,
            row_tokens=prompts.row_tokens + 2 * answer,
            fresh=1 / (self.answers - 1),
        )
        return Estimate(
            tokens=int(tokens),
            operations=size.reading(tokens),
            bytes=size.sampling_bytes(answers, prompts.row_tokens + self.max_completion_length),
            expects=pairs.figures(),
        )
