"""How many held-out problems each policy solves, by a verifiable reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.checks import model_fits, reward_fits, rows_ahead, solves_more
from posttrain.cost.sizes import Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.data.rows import JsonRow, Row, family
from posttrain.metrics import Metric, declare_metric, first
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.kinds import ModelStage, PromptStage
from posttrain.pipeline.stage import SAMPLES, Inputs, Machine, Report, Stage, base_name, later

if TYPE_CHECKING:
    Answering = Callable[..., tuple[list["Episode"], list[float]]]
    from posttrain.models.loading import ModelAndTokenizer
    from posttrain.rewards.base import Episode, RewardSource, Scorer

SOLVED_GREEDY = declare_metric(
    "solved_greedy/{model}",
    "Share of held-out problems that {model} solves in its greedy answer.",
    unit="share of problems",
    better="up",
    axis="Solved",
    title="solved greedily: {model}",
    label="{model}, greedy",
)
LENGTH_OF = declare_metric(
    "length/{model}",
    "Length of a sampled answer of {model} to a held-out problem, mean.",
    unit="tokens",
    better="none",
    axis="Length of answers, tokens",
    title="length of answers: {model}",
)


@dataclass(frozen=True, kw_only=True)
class Solving(Stage):
    """``base``, each of ``beside`` under its own name, and ``final``: one answer to each of ``rows`` held-out
    prompts at ``temperature``, and the likeliest one. Solved is what ``reward`` pays 1 for.

    The base also answers the first ``often_rows`` prompts ``often`` times, for pass@k. ``left_out`` names the
    controls that the recipe did not make, each with what it shows.
    """

    address = "evaluate"
    does = "evaluation"
    amounts = (("rows", "{} rows"), ("often", "pass@{}"))
    positive = ("rows", "often", "often_rows", "temperature", "max_completion_length")
    fits = model_fits.check
    usable = model_fits.usable
    needs = (SAMPLES,)
    base: Stage
    """The model at the start of the recipe."""
    beside: tuple[Stage, ...] = ()
    """Models that are measured beside base and final, under their own names."""
    final: ModelStage
    """The model that the recipe made."""
    prompts: PromptStage
    """Held-out problems."""
    reward: RewardSource
    """What pays 1 for a problem that is solved."""
    rows: int = 800
    """Held-out problems that are answered, the first ones."""
    often: int = 64
    """Answers of the base to each of the first problems, for pass@k; the largest k."""
    often_rows: int = 100
    """Problems that the base answers that often."""
    temperature: float = 1.0
    """Sampling temperature of the answers; each model also gives its likeliest one."""
    max_completion_length: int = 48
    """Longest answer in tokens."""
    samples: int = 24
    """Problems whose answers are printed in the report."""
    seed: int = 0
    """Seed of the answers."""
    left_out: tuple[str, ...] = later(())
    """Controls that the recipe did not make, each with what it shows; the report says unknown."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``samples.jsonl`` and ``answers.jsonl``."""
        from posttrain.evaluation.answering import PROMPTS
        from posttrain.evaluation.intervals import bootstrap
        from posttrain.evaluation.not_measured import not_measured
        from posttrain.evaluation.pass_at_k import PASS_AT
        from posttrain.evaluation.solved_shares import SOLVED, SOLVED_CHANGE
        from posttrain.rewards.base import opened
        from posttrain.storage.jsonl import read_jsonl, write_jsonl
        from posttrain.training.rollout_metrics import LENGTH
        from posttrain.training.run_summary import FINAL, START

        prompts = read_jsonl(inputs["prompts"].path / "heldout.jsonl")[: self.rows]
        solved: dict[str, list[float]] = {}
        rows: list[Row] = [
            {"id": p.get("id"), "prompt": p["prompt"], "family": family(p), "answers": {}} for p in prompts
        ]
        metrics: dict[str, Metric] = {}
        with opened(self.reward, inputs, machine) as scorer:
            for name, stage in self._named():
                model = _open(inputs.of(stage).path, machine)
                answered = partial(self._answered, model, scorer, machine)
                episodes, rewards = answered(prompts, self.temperature, name)
                _, greedy = answered(prompts, 0.0, name)
                solved[name] = rewards
                metrics |= _of_one(name, episodes, rewards, greedy)
                for row, episode, right in zip(rows, episodes, rewards, strict=True):
                    row["answers"][name] = {"text": episode.response, "reward": right, "ended": episode.ended}
                if name == "base":
                    metrics |= self._often(answered, prompts)
        for name, rewards in solved.items():
            if name != "final":
                gaps = [a - b for a, b in zip(solved["final"], rewards, strict=True)]
                metrics |= SOLVED_CHANGE.of(bootstrap(gaps), model="final", other=name)
            if name not in ("base", "final"):
                gaps = [a - b for a, b in zip(rewards, solved["base"], strict=True)]
                metrics |= SOLVED_CHANGE.of(bootstrap(gaps), model=name, other="base")
        learned = inputs["final"].metrics  # reinforcement tells how long answers were at first and at last
        lengths = [kind.named(metric=LENGTH) for kind in (START, FINAL)]
        metrics |= {name: learned[name] for name in lengths if name in learned} | PROMPTS.of(len(prompts))
        write_jsonl(output / "answers.jsonl", rows)
        write_jsonl(output / "samples.jsonl", rows[: self.samples])
        headline = [PASS_AT.named(k="1", model="base"), SOLVED.named(model="final")]
        missing, notes = not_measured(self.left_out)
        return Report(metrics=first(metrics, headline) | missing, notes=notes)

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        return reward_fits.check(self.reward, inputs["prompts"].path / "heldout.jsonl")

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        if "prompts" not in inputs:
            return []
        return rows_ahead.prompts(self, model, inputs["prompts"].path, "heldout")

    def gates(self, report: Report) -> list[Finding]:
        return [solves_more.check(report.metrics)]

    def rehearsal(self) -> Solving:
        return replace(self, rows=8, often=4, often_rows=2, samples=2)

    def work(self, inputs: Inputs) -> StageWork | None:
        size, prompts = Size.of(inputs.get("base")), Rows.of(inputs.get("prompts"))
        if size is None or prompts is None:
            return None
        asked = min(self.rows, prompts.heldout_rows)
        often = min(self.often_rows, asked)
        answer = self.max_completion_length / 2  # where answers end by themselves
        each = 2 * asked * (2 + len(self.beside))  # one by lot and the likeliest
        tokens = Tokens.of_answers(each, 1, prompts.row_tokens, answer)
        tokens += Tokens.of_answers(often, self.often, prompts.row_tokens, answer)
        return StageWork(
            models=(ModelWork(size=size, sampled=tokens),),
            rows_sampled=max(asked, often * self.often),
            row_length=prompts.row_tokens + self.max_completion_length,
            examples=each + often * self.often,
        )

    def _named(self) -> list[tuple[str, Stage]]:
        others = [(base_name(stage), stage) for stage in self.beside]
        return [("base", self.base), *others, ("final", self.final)]

    def _answered(
        self,
        model: ModelAndTokenizer,
        scorer: Scorer,
        machine: Machine,
        prompts: Sequence[JsonRow],
        temperature: float,
        purpose: str,
        each: int = 1,
    ) -> tuple[list[Episode], list[float]]:
        """Answers, and 1 for those that are solved; ``temperature`` 0 takes the likeliest."""
        from posttrain.core.seeds import derive
        from posttrain.engines.base import Sampling
        from posttrain.evaluation.answering import answers
        from posttrain.rewards.base import solved
        from posttrain.storage.chunks import Chunks

        sampling = Sampling(temperature=temperature, max_tokens=self.max_completion_length)
        seed = derive(self.seed, f"solve/{purpose}")
        chunks = Chunks(machine.scratch, f"{purpose}/{'sampled' if temperature else 'greedy'}")
        episodes = answers(
            model[0], model[1], prompts, sampling, seed, each, chunks=chunks, note=machine.note
        )
        return episodes, solved(scorer, episodes)

    def _often(self, answered: Answering, prompts: Sequence[JsonRow]) -> dict[str, Metric]:
        from posttrain.evaluation.pass_at_k import PASS_AT, pass_at_k

        few = prompts[: self.often_rows]
        _, rewards = answered(few, self.temperature, "often", self.often)
        right = [
            [bool(x) for x in rewards[at : at + self.often]] for at in range(0, len(rewards), self.often)
        ]
        ks = sorted({1, min(8, self.often), self.often})
        metrics: dict[str, Metric] = {}
        for k in ks:
            metrics |= PASS_AT.of(pass_at_k(right, k), k=str(k), model="base")
        return metrics


def _open(directory: Path, machine: Machine) -> ModelAndTokenizer:
    from posttrain.models.loading import load_causal_lm

    return load_causal_lm(directory, device=machine.device)


def _of_one(
    name: str, episodes: Sequence[Episode], rewards: Sequence[float], greedy: Sequence[float]
) -> dict[str, Metric]:
    from posttrain.evaluation.intervals import bootstrap, wilson
    from posttrain.evaluation.solved_shares import ENDS, SOLVED

    metrics = SOLVED.of(wilson(sum(rewards), len(rewards)), model=name)
    metrics |= SOLVED_GREEDY.of(wilson(sum(greedy), len(greedy)), model=name)
    metrics |= ENDS.of(wilson(sum(e.ended for e in episodes), len(episodes)), model=name)
    return metrics | LENGTH_OF.of(bootstrap([len(e.logprobs) for e in episodes]), model=name)
