"""Evaluation: base, instruction-tuned and final model side by side on held-out prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.checks import family_falls, judge_agrees, model_fits, rows_ahead
from posttrain.checks.thresholds import OfEvaluation
from posttrain.cost.sizes import Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.data.rows import JsonRow, Row
from posttrain.field_guide.freeze import GOLD_VERSION
from posttrain.metrics import Metric, first
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.kinds import ModelStage, PromptStage, RewardModelStage
from posttrain.pipeline.stage import SAMPLES, Inputs, Machine, Report, Stage, judging, later
from posttrain.rewards.learned import LearnedReward
from posttrain.stages.heldout_inputs import ALSO_TRAINED_ON, also_trained_on, of_more_demonstrations

if TYPE_CHECKING:
    from posttrain.evaluation.compare import Answers
    from posttrain.rewards.base import Episode

NO_GOLD = (
    "There is no gold reward for these prompts, so how good the answers are is not known: gold, win rates "
    "and the reward model's accuracy say unknown. What the reward model says is shown; of a policy that was "
    "trained on it, it is no judge."
)
HEADLINE = ("win_rate/final_vs_sft", "kl", "gold/final", "gold/sft", "gold/base", "accuracy", "nll_ratio_4x")


@dataclass(frozen=True, kw_only=True)
class HeldoutEvaluation(Stage):
    """Independent answers at ``temperature`` to held-out prompts; gold is read here, and nowhere that trains.

    ``control`` is a reward model on shuffled labels, ``sft_4x`` a model of four times the demonstrations.
    ``left_out`` names the controls that the recipe did not make, each with what it shows.
    """

    address = "evaluate"
    does = "evaluation"
    recorded_as = "posttrain.stages.evaluate:Evaluation"
    amounts = (("rows", "{} rows"), ("best_of", "best of {}"))
    reads_gold = True  # it measures by it
    version = 1 + GOLD_VERSION  # KL at the temperature of the answers; gold by family and part; words alone
    positive = ("rows", "best_of", "max_completion_length")
    fits = model_fits.check
    usable = model_fits.usable
    needs = (SAMPLES,)
    base: Stage
    """The base model."""
    sft: ModelStage
    """The instruction-tuned model; KL is taken from it."""
    final: ModelStage
    """The model that the recipe made."""
    reward_model: RewardModelStage
    """The reward model, whose scores are shown and whose accuracy is measured."""
    prompts: PromptStage
    """Held-out prompts that the models answer."""
    pairs: Stage | None = None
    """Pairs of answers, on which the reward model is compared with gold."""
    labels: Stage | None = None
    """What the annotators said of these pairs."""
    control: Stage | None = None
    """A reward model that was trained on shuffled labels."""
    sft_4x: Stage | None = None
    """A model that was tuned on four times the demonstrations."""
    rows: int = 600
    """Held-out prompts that are answered, the first ones."""
    best_of: int = 4
    """Answers of the tuned model of which the reward model picks one, to compare with the final model."""
    temperature: float = 1.0
    """Sampling temperature of the answers; 0 takes the likeliest token."""
    max_completion_length: int = 48
    """Longest answer in tokens."""
    samples: int = 24
    """Prompts whose answers are printed in the report."""
    seed: int = 0
    """Seed of the answers and of the samples."""
    left_out: tuple[str, ...] = later(())
    """Controls that the recipe did not make, each with what it shows; the report says unknown."""
    # of the final policy to each prompt, compared by the reward model; 0, or 2 and more
    own_answers: int = later(0)
    """Answers of the final model to a prompt whose pairs test the reward model on them; 0 asks none."""
    thresholds: OfEvaluation = judging(OfEvaluation())
    """From which values on the gates of this stage fail."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``samples.jsonl``, ``answers.jsonl`` and ``gold.jsonl`` (gold over the steps of
        reinforcement).
        """
        from posttrain.evaluation import compare
        from posttrain.evaluation.answering import PROMPTS
        from posttrain.evaluation.gold_curve import gold_over_steps
        from posttrain.evaluation.not_measured import not_measured
        from posttrain.storage.jsonl import read_jsonl, write_jsonl

        models, prompts, metrics = self._answer(inputs, machine)
        base, sft, best, final = models
        metrics |= compare.against(final, sft) | compare.against(best, sft) | compare.against(final, best)
        for one in (base, sft, best, final):
            metrics |= compare.of_one(one)
        metrics |= compare.falls(final, sft) | compare.family_changes(final, sft, prompts)
        for one in (sft, best, final):
            metrics |= compare.by_family(one, prompts)
        metrics |= self._of_reward_model(inputs, machine, prompts) | self._of_demonstrations(inputs)
        metrics |= PROMPTS.of(len(prompts))
        shared = also_trained_on(inputs["prompts"].path, prompts)
        metrics |= ALSO_TRAINED_ON.of(len(shared))
        write_jsonl(output / "answers.jsonl", _rows(prompts, models))
        chosen = random.Random(f"samples:{self.seed}").sample(
            range(len(prompts)), min(self.samples, len(prompts))
        )
        rows = _rows(prompts, (base, sft, final))
        write_jsonl(output / "samples.jsonl", [rows[index] for index in sorted(chosen)])
        episodes = inputs["final"].path / "episodes.jsonl"  # direct alignment keeps none
        write_jsonl(output / "gold.jsonl", gold_over_steps(read_jsonl(episodes) if episodes.exists() else []))
        notes = [] if any(judgement is not None for judgement in final.gold) else [NO_GOLD]
        if shared:
            ids = ", ".join(shared[:10]) + (", ..." if len(shared) > 10 else "")
            notes.append(f"{len(shared)} of {len(prompts)} held-out prompts are trained on as well: {ids}")
        missing, why = not_measured(self.left_out)
        return Report(metrics=first(metrics, HEADLINE) | missing, notes=notes + why)

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        if "prompts" not in inputs:
            return []
        return rows_ahead.prompts(self, model, inputs["prompts"].path, "heldout")

    def gates(self, report: Report) -> list[Finding]:
        return [
            family_falls.check(report.metrics),
            judge_agrees.check(report.metrics),
            judge_agrees.on_policy(report.metrics, self.thresholds),
        ]

    def rehearsal(self) -> HeldoutEvaluation:
        return replace(self, rows=8, samples=2)

    def work(self, inputs: Inputs) -> StageWork | None:
        size, prompts = Size.of(inputs.get("sft")), Rows.of(inputs.get("prompts"))
        judge = Size.of(inputs.get("reward_model"))
        if size is None or prompts is None or judge is None:
            return None
        asked, pairs = min(self.rows, prompts.heldout_rows), Rows.of(inputs.get("pairs"))
        prompt, answer = prompts.row_tokens, self.max_completion_length / 2  # where answers end by themselves
        once, pool = (Tokens.of_answers(asked, each, prompt, answer) for each in (1, self.best_of))
        more = Tokens.of_answers(asked if self.own_answers else 0, self.own_answers, prompt, answer)
        scored = 3 * once.trunk + pool.trunk + more.trunk
        compared = 0.0 if pairs is None else pairs.heldout_rows * pairs.row_tokens * pairs.fresh
        models = [
            ModelWork(size=size, sampled=3 * once + pool + more, read=once),  # base, tuned and final
            ModelWork(size=size, read=once),  # the tuned one, from which the final one's KL is
            ModelWork(size=judge, read=Tokens(scored + compared)),
        ]
        if self.control is not None:
            models.append(ModelWork(size=judge, read=Tokens(compared)))
        return StageWork(
            models=tuple(models),
            rows_sampled=asked * self.best_of,
            row_length=prompt + self.max_completion_length,
            examples=asked * (3 + self.best_of + self.own_answers),
        )

    def _answer(
        self, inputs: Inputs, machine: Machine
    ) -> tuple[tuple[Answers, ...], list[JsonRow], dict[str, Metric]]:
        """Answers of base, SFT, best of n and final; the prompts they answer; the final model's KL from
        SFT.
        """
        from posttrain.engines.base import Sampling
        from posttrain.evaluation.answering import (
            KL_FINAL,
            PROMPTS_TOO_LONG,
            answers,
            fitting,
            kl_per_answer,
        )
        from posttrain.evaluation.compare import Answers
        from posttrain.evaluation.intervals import bootstrap
        from posttrain.models.chat import Chat
        from posttrain.models.loading import load_causal_lm
        from posttrain.storage.chunks import Chunks
        from posttrain.storage.jsonl import read_jsonl

        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_completion_length)
        asked = read_jsonl(inputs["prompts"].path / "heldout.jsonl")[: self.rows]
        sft, tokenizer = load_causal_lm(inputs["sft"].path, device=machine.device)
        prompts = fitting(sft, tokenizer, asked, sampling)
        chunks = partial(Chunks, machine.scratch)
        answered = partial(answers, note=machine.note)
        by_sft = answered(sft, tokenizer, prompts, sampling, self.seed + 1, chunks=chunks("sft"))
        pool = answered(
            sft, tokenizer, prompts, sampling, self.seed + 2, self.best_of, chunks=chunks("best_of")
        )
        final, tokenizer = load_causal_lm(inputs["final"].path, device=machine.device)
        by_final = answered(final, tokenizer, prompts, sampling, self.seed + 3, chunks=chunks("final"))
        pad_id = Chat(tokenizer).pad_id
        nats = kl_per_answer((final, sft), by_final, sampling, pad_id, machine.micro_batch_tokens)
        metrics = KL_FINAL.of(bootstrap(nats)) | PROMPTS_TOO_LONG.of(len(asked) - len(prompts))
        base, tokenizer = load_causal_lm(inputs["base"].path, device=machine.device)
        by_base = answered(base, tokenizer, prompts, sampling, self.seed + 4, chunks=chunks("base"))
        with LearnedReward(model=self.reward_model, normalise=False).open(inputs, machine) as scorer:
            rewards = [scorer.score(e).values.tolist() for e in (by_base, by_sft, by_final)]
            best, best_rewards = _best(pool, scorer.score(pool).values.tolist(), self.best_of)
        models = (
            Answers.of("base", by_base, rewards[0]),
            Answers.of("sft", by_sft, rewards[1]),
            Answers.of(f"best_of_{self.best_of}", best, best_rewards),
            Answers.of("final", by_final, rewards[2]),
        )
        return models, prompts, metrics

    def _of_reward_model(
        self, inputs: Inputs, machine: Machine, prompts: Sequence[JsonRow]
    ) -> dict[str, Metric]:
        """Agreement with gold on held-out pairs, of the reward model, its controls and the annotators; and
        on pairs of the final policy's answers.
        """
        from posttrain.evaluation import reward_accuracy
        from posttrain.evaluation.bag_of_words import bag_of_words
        from posttrain.evaluation.scored_pairs import scored
        from posttrain.feedback.votes import counted
        from posttrain.storage.jsonl import read_jsonl

        pairs = read_jsonl(inputs["pairs"].path / "heldout.jsonl") if self.pairs is not None else []
        if not pairs:
            return reward_accuracy.ACCURACY_GOLD.of("unknown")
        control = None if self.control is None else scored(inputs["control"].path, pairs, machine)
        metrics: dict[str, Metric] = {}
        model, words_alone = inputs["reward_model"].path, None
        if self.labels is not None:
            labels = inputs["labels"].path
            learned = [row for row in counted(read_jsonl(labels / "train.jsonl")) if not row.get("tie")]
            words_alone = bag_of_words(learned, pairs)
            asked = read_jsonl(inputs["pairs"].path / "train.jsonl")
            metrics |= reward_accuracy.of_comparisons(asked, learned)
            metrics |= reward_accuracy.of_annotators(pairs, read_jsonl(labels / "heldout.jsonl"))
        metrics |= reward_accuracy.accuracy(pairs, scored(model, pairs, machine), control, words_alone)
        if self.own_answers:
            made = self._own_pairs(inputs, machine, prompts)
            clear = reward_accuracy.gold_gaps(pairs)[1]
            metrics |= reward_accuracy.on_policy(made, scored(model, made, machine), clear)
        return metrics

    def _own_pairs(self, inputs: Inputs, machine: Machine, prompts: Sequence[JsonRow]) -> list[Row]:
        """Every two different answers of the final policy to a held-out prompt."""
        from posttrain.engines.base import Sampling
        from posttrain.evaluation.answering import answers
        from posttrain.models.loading import load_causal_lm
        from posttrain.rollouts.paired_answers import paired
        from posttrain.storage.chunks import Chunks

        final, tokenizer = load_causal_lm(inputs["final"].path, device=machine.device)
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_completion_length)
        chunks = Chunks(machine.scratch, "own answers")
        seed, each = self.seed + 5, self.own_answers
        made = answers(final, tokenizer, prompts, sampling, seed, each, chunks=chunks, note=machine.note)
        return paired(made, self.own_answers)[0]

    def _of_demonstrations(self, inputs: Inputs) -> dict[str, Metric]:
        if self.sft_4x is None:
            return {}
        return of_more_demonstrations(inputs["sft"].values, inputs["sft_4x"].values)


def _best(episodes: Sequence[Episode], rewards: Sequence[float], n: int) -> tuple[list[Episode], list[float]]:
    """Of each n answers to a prompt the one with the highest reward, the first of equals."""
    places = [max(range(at, at + n), key=lambda i: rewards[i]) for at in range(0, len(episodes), n)]
    return [episodes[i] for i in places], [rewards[i] for i in places]


def _rows(prompts: Sequence[JsonRow], models: Sequence[Answers]) -> list[Row]:
    """A prompt a row with every model's answer, its reward, and its gold where that is known."""
    rows = []
    for index, prompt in enumerate(prompts):
        answers: dict[str, Row] = {}
        for model in models:
            judgement = model.gold[index]
            answer = {"text": model.texts[index], "reward": model.rewards[index], "ended": model.ended[index]}
            answers[model.name] = answer | ({} if judgement is None else {"gold": judgement.total})
        family = (prompt.get("item") or {}).get("family", "")
        rows.append(
            {"id": prompt.get("id"), "prompt": prompt["prompt"], "family": family, "answers": answers}
        )
    return rows
