"""Rejection sampling: the policy's own answers, of which a reward keeps some to imitate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.checks import model_fits, reward_fits
from posttrain.cost.sizes import Rows
from posttrain.data.row_counts import ANSWERS, ROWS, heldout
from posttrain.data.rows import Row
from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import ModelStage, PromptStage
from posttrain.pipeline.stage import SAMPLES, Compute, Inputs, Machine, Report, Stage, later
from posttrain.rollouts.rejection_rules import best_per_prompt
from posttrain.stages.sampled_answers import SamplesAnswers

if TYPE_CHECKING:
    from posttrain.rewards.base import Episode, RewardSource

UNUSABLE = declare_metric(
    "unusable",
    "Sampled answers that were cut off, empty or could not be scored.",
    unit="answers",
    better="down",
)
REWARD_DRAWN = declare_metric(
    "reward_drawn", "Reward of all usable answers, mean.", unit="reward", better="up"
)
REWARD_KEPT = declare_metric(
    "reward_kept",
    "Reward of the answers that were kept, mean.",
    unit="reward",
    better="up",
)
KL_BOUND = declare_metric(
    "kl_bound",
    "Upper bound on KL(what is kept || the policy that answered) for the best of n answers, log n - (n - 1) "
    "/ n.",
    unit="nats per completion",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class RejectionSampling(SamplesAnswers, Stage):
    """``answers`` samples of ``policy`` to each of ``rows`` prompts, of which ``choose`` keeps some by their
    ``reward`` (Nakano et al. 2021; Touvron et al. 2023, section 3.2.3), to be imitated by instruction tuning.

    ``choose`` is a function of posttrain/rollouts/rejection_rules.py. Its control by lot has the same number
    of answers to the same prompts. Answers that a limit cut are not kept.
    """

    address = "rejection"
    does = "best answers, kept"
    amounts = (*SamplesAnswers.amounts, ("keep", "{} kept"))
    positive = ("rows", "answers", "temperature", "max_completion_length")
    fits = model_fits.check
    usable = model_fits.usable
    needs = (SAMPLES,)
    policy: ModelStage
    """The model that answers."""
    prompts: PromptStage
    """The prompts that are answered."""
    reward: RewardSource
    """What scores the answers: a reward model or a verifier."""
    choose: Callable[[Sequence[Sequence[float | None]], int, int], list[tuple[int, int]]] = best_per_prompt
    """Which answers are kept by their rewards: a function of ``posttrain/rollouts/rejection_rules.py``."""
    rows: int = 2000
    """Training prompts that are answered, the first ones."""
    heldout: int = 200
    """Held-out prompts that are answered, the first ones."""
    answers: int = 8
    """Answers to each prompt, among which the rule chooses; larger raises reward and KL of what is kept."""
    keep: int = 0
    """Answers that are kept in all; 0 keeps as many as the rule gives."""
    temperature: float = 1.0
    """Sampling temperature; larger makes the answers more different."""
    max_completion_length: int = 48
    """Longest answer in tokens."""
    seed: int = 0
    """Seed of the answers, and of a rule that draws lots."""
    compute: Compute = later("float32")
    """Number format of matrix products in sampling."""

    def as_many_as(self, reinforced: Stage) -> RejectionSampling:
        """With as many prompts, at its number of answers to each, as a stage of reinforcement has answers; as
        it is beside any other stage.
        """
        if not reinforced.sampled:
            return self
        rows = max(reinforced.sampled // self.answers, 1)
        return replace(self, rows=rows, heldout=max(rows // 10, 1))

    def following(self, was: Stage, now: Stage) -> RejectionSampling:
        """As many answers as the reinforcement that this stands beside."""
        as_now, as_was = super().following(was, now), self.as_many_as(was)
        as_many = (self.rows, self.heldout) == (as_was.rows, as_was.heldout)
        return as_now.as_many_as(now) if as_many else as_now

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``train.jsonl`` and ``heldout.jsonl``, rows {"id", "messages", "reward"}, or {"id",
        "prompt", "completion", "reward"} where prompts are plain text. Raises UserError where none is kept.
        """
        from posttrain.core.kl import best_of_n
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
                if not prompts:
                    write_jsonl(output / f"{side}.jsonl", [])
                    continue
                purpose = (self.seed, f"kept/{side}")
                chunks = Chunks(machine.scratch, side)
                groups, rewards = sampled(
                    engine, chat, prompts, scorer, sampling, self.answers, purpose, chunks=chunks
                )
                usable = [
                    [r if e.ended and e.response.strip() else None for e, r in zip(es, rs, strict=True)]
                    for es, rs in zip(groups, rewards, strict=True)
                ]
                places = self.choose(usable, self.keep if side == "train" else 0, self.seed)
                if side == "train" and not places:
                    raise UserError(
                        f"none of {len(prompts) * self.answers} answers was kept; raise answers, or begin "
                        "with a policy that is right more often"
                    )
                rows = [_demonstration(groups[p][a], usable[p][a], f"{p}-{a}") for p, a in places]
                write_jsonl(output / f"{side}.jsonl", rows)
                counted = _counted(usable, places)
                metrics |= counted if side == "train" else heldout(counted)
        if self.choose is best_per_prompt and not self.keep:
            metrics |= KL_BOUND.of(best_of_n(self.answers))  # of what is kept, from the policy that answered
        return Report(metrics=metrics)

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        return reward_fits.check(self.reward, inputs["prompts"].path / "train.jsonl")

    def rehearsal(self) -> RejectionSampling:
        """Keeps something whatever a policy that has hardly learned says."""
        return replace(self, rows=8, heldout=8, keep=0, choose=best_per_prompt)

    def written(self, rows: int, heldout_rows: int, prompt: float, answer: float) -> Rows:
        """One demonstration a prompt, or as many as are to be kept."""
        return Rows(rows=self.keep or rows, heldout_rows=heldout_rows, row_tokens=prompt + answer)


def _demonstration(episode: Episode, reward: float | None, suffix: str) -> Row:
    """What instruction tuning reads."""
    prompt, response = episode.prompt["prompt"], episode.response
    row: Row = {"id": f"{episode.prompt.get('id', '')}/{suffix}", "reward": reward}
    if isinstance(prompt, str):
        end = str(episode.prompt.get("stop", ""))
        return {**row, "prompt": prompt, "completion": response.removesuffix(end) + end}
    return {**row, "messages": [*prompt, {"role": "assistant", "content": response}]}


def _counted(
    rewards: Sequence[Sequence[float | None]], places: Sequence[tuple[int, int]]
) -> dict[str, Metric]:
    """How many answers were judged and kept, and what they earned on average."""
    usable = [reward for answers in rewards for reward in answers if reward is not None]
    chosen = [reward for p, a in places if (reward := rewards[p][a]) is not None]
    metrics = ROWS.of(len(places)) | ANSWERS.of(sum(len(answers) for answers in rewards))
    metrics |= UNUSABLE.of(sum(reward is None for answers in rewards for reward in answers))
    if usable and chosen:
        metrics |= REWARD_DRAWN.of(sum(usable) / len(usable)) | REWARD_KEPT.of(sum(chosen) / len(chosen))
    return metrics
