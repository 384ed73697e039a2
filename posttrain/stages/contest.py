"""Policies in the order in which they were made, side by side on held-out prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.checks import judge_agrees, model_fits, reward_fits, rows_ahead
from posttrain.cost.sizes import ANSWERS, Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.data.rows import JsonRow, Row, family
from posttrain.field_guide.freeze import GOLD_VERSION
from posttrain.metrics import Metric, first
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import ComparisonStage, PromptStage, RewardModelStage
from posttrain.pipeline.stage import SAMPLES, Inputs, Machine, Report, Stage, base_name, later
from posttrain.rewards.learned import LearnedReward
from posttrain.stages.contest_metrics import headline, of_judge

if TYPE_CHECKING:
    from torch import Tensor

    from posttrain.engines.base import Sampling
    from posttrain.evaluation.compare import Answers
    from posttrain.models.loading import ModelAndTokenizer
    from posttrain.rewards.base import RewardSource

NO_GOLD = (
    "There is no gold reward for these prompts: gold and the win rates by it say unknown. Whether the last "
    "policy is better is for the judge, the held-out comparisons and the answers themselves to say."
)


@dataclass(frozen=True, kw_only=True)
class Contest(Stage):
    """Independent answers at ``temperature`` to held-out prompts by each of ``policies``, the first of which
    is where they came from, and each of ``controls``. Gold is read here, and nowhere that trains.

    ``reward_model`` is what a policy may have learned from, ``judge`` one that none did. ``comparisons`` are
    people's, of which the held-out ones say whose likelihoods side with them. ``problems`` are held-out
    prompts that ``verifier`` pays 1 for where they are solved; ``text`` is held-out pretraining text, whose
    loss tells what was forgotten. ``left_out`` names the controls that the recipe did not make, each with
    what it shows.
    """

    address = "evaluate"
    does = "evaluation"
    amounts = (("rows", "{} rows"),)
    reads_gold = True  # it measures by it
    version = 1 + GOLD_VERSION  # KL at the temperature of the answers
    positive = ("rows", "max_completion_length")
    fits = model_fits.check
    usable = model_fits.usable
    needs = (SAMPLES,)
    controls: tuple[Stage, ...] = ()
    """Policies that are shown for comparison only."""
    policies: tuple[Stage, ...]
    """The policies in the order in which they were made; the first is where the others came from."""
    prompts: PromptStage
    """Held-out prompts that every policy answers."""
    reward_model: RewardModelStage | None = None
    """A reward model that a policy may have learned from; its scores are shown."""
    problems: Stage | None = None
    """Held-out prompts with an answer that ``verifier`` can check."""
    verifier: RewardSource | None = None
    """The reward source that pays 1 for a problem that is solved."""
    text: Stage | None = None
    """Held-out pretraining text, whose loss shows what was forgotten."""
    rows: int = 900
    """Held-out prompts that are answered, the first ones."""
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
    judge: Stage | None = later(None)
    """A reward model that no policy learned from."""
    comparisons: ComparisonStage | None = later(None)
    """People's comparisons; on the held-out ones each policy's likelihoods are compared with the labels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.policies) < 2 or (self.problems is None) != (self.verifier is None):
            raise UserError("a contest has two policies or more, and problems have a verifier")

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``samples.jsonl`` and ``answers.jsonl``."""
        from posttrain.evaluation.answering import PROMPTS
        from posttrain.evaluation.heldout_labels import IMPLICIT_ACCURACY, LABEL_ACCURACY_OF
        from posttrain.evaluation.not_measured import not_measured
        from posttrain.evaluation.policy_series import JUDGE_WIN_RATE, in_a_row
        from posttrain.storage.jsonl import write_jsonl

        models, prompts, by_model = self._answer(inputs, output, machine)
        policies, controls = models[: len(self.policies)], models[len(self.policies) :]
        metrics = (
            in_a_row(policies, controls, self.reward_model is not None) | by_model | PROMPTS.of(len(prompts))
        )
        rows = _rows(prompts, models)
        write_jsonl(output / "answers.jsonl", rows)
        chosen = random.Random(f"samples:{self.seed}").sample(range(len(rows)), min(self.samples, len(rows)))
        write_jsonl(output / "samples.jsonl", [rows[index] for index in sorted(chosen)])
        missing, notes = not_measured(self.left_out)
        measured = self.judge is not None or self.comparisons is not None
        if measured and all(judgement is None for answers in models for judgement in answers.gold):
            notes.append(NO_GOLD)
        shown = headline(metrics, (JUDGE_WIN_RATE, IMPLICIT_ACCURACY, LABEL_ACCURACY_OF))  # where they are
        return Report(metrics=first(metrics, shown) | missing, notes=notes)

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        if "prompts" not in inputs:
            return []
        return rows_ahead.prompts(self, model, inputs["prompts"].path, "heldout")

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        if self.verifier is None:
            return []
        return reward_fits.check(self.verifier, inputs["problems"].path / "heldout.jsonl")

    def gates(self, report: Report) -> list[Finding]:
        return [judge_agrees.check(report.metrics)] if self.reward_model is not None else []

    def rehearsal(self) -> Contest:
        return replace(self, rows=8, samples=2)

    def work(self, inputs: Inputs) -> StageWork | None:
        size, prompts = Size.of(inputs.get("policies[1]")), Rows.of(inputs.get("prompts"))
        if size is None or prompts is None:
            return None
        many = len(self.policies) + len(self.controls)
        asked = min(self.rows, prompts.heldout_rows)
        answer = self.max_completion_length / 2  # where answers end by themselves
        answers = Tokens.of_answers(asked, 1, prompts.row_tokens, answer)
        sampled, read = many * answers, (many - 1) * answers
        if (posed := Rows.of(inputs.get("problems"))) is not None:
            problems = min(self.rows, posed.heldout_rows)
            sampled += many * Tokens.of_answers(problems, 1, posed.row_tokens, answer)
        if (compared := Rows.of(inputs.get("comparisons"))) is not None:
            pairs = compared.heldout_rows * compared.row_tokens
            read += many * Tokens(pairs, ANSWERS * pairs)
        if (text := Rows.of(inputs.get("text"))) is not None:
            read += many * Tokens(text.heldout_rows * text.row_tokens, text.heldout_rows * text.row_tokens)
        scored = Tokens(many * answers.trunk)
        judges = [Size.of(inputs.get(name)) for name in ("reward_model", "judge")]
        return StageWork(
            models=(
                ModelWork(size=size, sampled=sampled, read=read),
                ModelWork(size=size, read=(many - 1) * answers),  # the first, from which the others' KL is
                *(ModelWork(size=judge, read=scored) for judge in judges if judge is not None),
            ),
            rows_sampled=asked,
            row_length=prompts.row_tokens + self.max_completion_length,
            examples=many * asked,
        )

    def _answer(
        self, inputs: Inputs, output: Path, machine: Machine
    ) -> tuple[list[Answers], list[JsonRow], dict[str, Metric]]:
        """Everybody's answers, the prompts they answer, and what is measured with a model at hand."""
        from posttrain.core.seeds import derive
        from posttrain.engines.base import Sampling
        from posttrain.evaluation.answering import KL_OF, answers, fitting, kl_per_answer
        from posttrain.evaluation.compare import Answers
        from posttrain.evaluation.heldout_labels import label_accuracy
        from posttrain.evaluation.intervals import bootstrap
        from posttrain.evaluation.policy_series import by_judge
        from posttrain.evaluation.solved_shares import solved_in_a_row
        from posttrain.models.chat import Chat
        from posttrain.models.loading import load_causal_lm
        from posttrain.storage.chunks import Chunks
        from posttrain.storage.jsonl import read_jsonl

        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_completion_length)
        first, tokenizer = load_causal_lm(inputs.of(self.policies[0]).path, device=machine.device)
        asked = read_jsonl(inputs["prompts"].path / "heldout.jsonl")[: self.rows]
        prompts = fitting(first, tokenizer, asked, sampling)
        metrics: dict[str, Metric] = {}
        episodes, right = {}, {}
        labelled: dict[str, Tensor] = {}
        posed = []
        if self.problems is not None:
            posed = read_jsonl(inputs["problems"].path / "heldout.jsonl")[: self.rows]
        for name, stage in self.named():
            model, tokenizer = load_causal_lm(inputs.of(stage).path, device=machine.device)
            seed, chunks = derive(self.seed, f"contest/{name}"), Chunks(machine.scratch, name)
            asking = partial(answers, chunks=chunks, note=machine.note)
            episodes[name] = asking(model, tokenizer, prompts, sampling, seed)
            if stage is not self.policies[0]:
                limit, pad_id = machine.micro_batch_tokens, Chat(tokenizer).pad_id
                nats = kl_per_answer((model, first), episodes[name], sampling, pad_id, limit)
                metrics |= KL_OF.of(bootstrap(nats), model=name)
            if self.problems is not None:
                right[name] = self._solved(name, (model, tokenizer), sampling, posed, inputs, machine)
            metrics |= self._forgotten(name, (model, tokenizer), inputs, machine)
            labelled |= self._preferring(name, (model, tokenizer), inputs, output, machine)
        if labelled:
            metrics |= label_accuracy(labelled, self.named()[0][0])
        if self.problems is not None:
            metrics |= solved_in_a_row(right, len(self.policies), [family(problem) for problem in posed])
        rewards: dict[str, list[float]] = {name: [0.0] * len(given) for name, given in episodes.items()}
        if self.reward_model is not None:
            with LearnedReward(model=self.reward_model, normalise=False).open(inputs, machine) as scorer:
                rewards = {name: scorer.score(given).values.tolist() for name, given in episodes.items()}
        if self.judge is not None:
            with LearnedReward(model=self.judge, normalise=False).open(inputs, machine) as scorer:
                judged = {name: scorer.score(given).values.tolist() for name, given in episodes.items()}
            metrics |= by_judge(judged, len(self.policies)) | of_judge(inputs.of(self.judge).metrics)
        return [Answers.of(name, given, rewards[name]) for name, given in episodes.items()], prompts, metrics

    def named(self) -> list[tuple[str, Stage]]:
        """Everybody by the name that metrics have; those of one name are numbered in the order of rounds."""
        everybody = [*self.policies, *self.controls]
        names = [base_name(stage) for stage in everybody]
        return [
            (name if names.count(name) == 1 else f"{name}_{names[: at + 1].count(name)}", stage)
            for at, (name, stage) in enumerate(zip(names, everybody, strict=True))
        ]

    def _solved(
        self,
        name: str,
        model: ModelAndTokenizer,
        sampling: Sampling,
        problems: Sequence[JsonRow],
        inputs: Inputs,
        machine: Machine,
    ) -> list[float]:
        """One answer to each held-out problem: 1 for those that it solves."""
        from posttrain.core.seeds import derive
        from posttrain.evaluation.answering import answers
        from posttrain.rewards.base import opened, solved
        from posttrain.storage.chunks import Chunks

        assert self.verifier is not None  # problems have one
        chunks = Chunks(machine.scratch, f"problems/{name}")
        seed = derive(self.seed, f"solve/{name}")
        episodes = answers(*model, problems, sampling, seed, chunks=chunks, note=machine.note)
        with opened(self.verifier, inputs, machine) as scorer:
            return solved(scorer, episodes)

    def _preferring(
        self,
        name: str,
        model: ModelAndTokenizer,
        inputs: Inputs,
        output: Path,
        machine: Machine,
    ) -> dict[str, Tensor]:
        """What a policy says of the answers in held-out comparisons; nothing where there are none."""
        if self.comparisons is None:
            return {}
        from posttrain.evaluation.heldout_labels import log_likelihoods
        from posttrain.models.chat import Chat
        from posttrain.models.language_policy import LanguagePolicy
        from posttrain.models.positions import context_of
        from posttrain.models.prepare import prepare
        from posttrain.stages.fitting import pairs
        from posttrain.storage.jsonl import RowsInFile
        from posttrain.storage.preference_store import PreferenceStore

        chat, held = Chat(model[1]), PreferenceStore(output.parent)
        rows = RowsInFile(inputs["comparisons"].path / "heldout.jsonl")
        pairs(chat, rows, context_of(model[0]), held)
        policy = LanguagePolicy(prepare(model[0]))
        return {name: log_likelihoods(policy, held.grouped, chat.pad_id, machine.micro_batch_tokens)}

    def _forgotten(
        self, name: str, model: ModelAndTokenizer, inputs: Inputs, machine: Machine
    ) -> dict[str, Metric]:
        """Held-out pretraining loss, nats per token."""
        if self.text is None:
            return {}
        from posttrain.evaluation.text_loss import TEXT_NLL, text_loss
        from posttrain.storage.jsonl import read_jsonl

        rows = read_jsonl(inputs["text"].path / "heldout.jsonl")
        return TEXT_NLL.of(text_loss(*model, rows, machine.micro_batch_tokens), model=name)


def _rows(prompts: Sequence[JsonRow], models: Sequence[Answers]) -> list[Row]:
    """A prompt a row with every policy's answer, and its gold where that is known."""
    rows = []
    for index, prompt in enumerate(prompts):
        shown: dict[str, Row] = {}
        for model in models:
            judgement = model.gold[index]
            answer = {"text": model.texts[index], "ended": model.ended[index]}
            shown[model.name] = answer | ({} if judgement is None else {"gold": judgement.total})
        row = {"id": prompt.get("id"), "prompt": prompt["prompt"], "family": family(prompt)}
        rows.append({**row, "answers": shown})
    return rows
