"""Policies in the order in which they were made, side by side on held-out prompts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.checks import judge_agrees, model_fits, reward_fits
from posttrain.data.rows import family
from posttrain.field_guide.freeze import GOLD_VERSION
from posttrain.metrics import DECLARED, Metric, Metrics, declare_metric, first
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import SAMPLES, Estimate, Inputs, Machine, Report, Stage, base_name, later
from posttrain.rewards.learned import LearnedReward
from posttrain.stages.rm_heldout import LABEL_ACCURACY

if TYPE_CHECKING:
    from posttrain.evaluation.compare import Answers
    from posttrain.rewards.protocol import RewardSource

JUDGE_ACCURACY = declare_metric(
    "judge_accuracy",
    "Share of held-out comparisons in which the judge sides with what people chose.",
    unit="share of comparisons",
    better="up",
    axis="Agreement with held-out labels",
    level="chance",
    title="agreement of the judge with held-out labels",
    label="the judge",
)

NO_GOLD = (
    "There is no gold reward for these prompts: gold and the win rates by it say unknown. Whether the last "
    "policy is better is for the judge, the held-out comparisons and the answers themselves to say."
)


@dataclass(frozen=True, kw_only=True)
class Contest(Stage):  # size: who is compared, by what measures, and on how much
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
    prompts: Stage
    """Held-out prompts that every policy answers."""
    reward_model: Stage | None = None
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
    comparisons: Stage | None = later(None)
    """People's comparisons; on the held-out ones each policy's likelihoods are compared with the labels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.policies) < 2 or (self.problems is None) != (self.verifier is None):
            raise UserError("a contest has two policies or more, and problems have a verifier")

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes ``samples.jsonl`` and ``answers.jsonl``."""
        from posttrain.evaluation.answering import PROMPTS
        from posttrain.evaluation.not_measured import not_measured
        from posttrain.evaluation.several import in_a_row
        from posttrain.storage.jsonl import write_jsonl

        found, prompts, by_model = self._answer(inputs, output, machine)
        policies, controls = found[: len(self.policies)], found[len(self.policies) :]
        metrics = (
            in_a_row(policies, controls, self.reward_model is not None) | by_model | PROMPTS.of(len(prompts))
        )
        rows = _rows(prompts, found)
        write_jsonl(output / "answers.jsonl", rows)
        drawn = random.Random(f"samples:{self.seed}").sample(range(len(rows)), min(self.samples, len(rows)))
        write_jsonl(output / "samples.jsonl", [rows[place] for place in sorted(drawn)])
        missing, notes = not_measured(self.left_out)
        measured = self.judge is not None or self.comparisons is not None
        if measured and all(judgement is None for answers in found for judgement in answers.gold):
            notes.append(NO_GOLD)
        return Report(metrics=first(metrics, self._headline(metrics)) | missing, notes=notes)

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        if self.verifier is None:
            return []
        return reward_fits.check(self.verifier, inputs["problems"].path / "heldout.jsonl")

    def gates(self, report: Report) -> list[Finding]:
        return [judge_agrees.check(report.metrics)] if self.reward_model is not None else []

    def rehearsal(self) -> Contest:
        return replace(self, rows=8, samples=2)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.pipeline.sizes import Rows, Size

        size, prompts = Size.of(inputs.get("policies[1]")), Rows.of(inputs.get("prompts"))
        if size is None or prompts is None:
            return None
        answers = min(self.rows, prompts.heldout_rows) * (len(self.policies) + len(self.controls))
        length = prompts.row_tokens + self.max_completion_length / 2  # where answers end by themselves
        tokens = 4 * answers * length  # sampled, scored, and read twice for their KL
        many = len(self.policies) + len(self.controls)
        tokens += answers * length if self.judge is not None and self.reward_model is not None else 0
        if (posed := Rows.of(inputs.get("problems"))) is not None:
            asked = many * min(self.rows, posed.heldout_rows)
            tokens += asked * (posed.row_tokens + self.max_completion_length / 2)
        if (compared := Rows.of(inputs.get("comparisons"))) is not None:
            tokens += many * compared.heldout_rows * 1.3 * compared.row_tokens  # the prompt with both answers
        memory = size.sampling_bytes(answers, prompts.row_tokens + self.max_completion_length)
        return Estimate(tokens=int(tokens), operations=size.reading(tokens), bytes=memory + 4 * size.weights)

    def _answer(
        self, inputs: Inputs, output: Path, machine: Machine
    ) -> tuple[list[Answers], list[Mapping[str, Any]], dict[str, Metric]]:
        """Everybody's answers, the prompts they answer, and what is measured with a model at hand."""
        from posttrain.core.seeds import derive
        from posttrain.engines.protocol import Sampling
        from posttrain.evaluation.answering import KL_OF, answers, fitting, kl_per_answer
        from posttrain.evaluation.compare import Answers
        from posttrain.evaluation.heldout_labels import label_accuracy
        from posttrain.evaluation.intervals import bootstrap
        from posttrain.evaluation.several import by_judge
        from posttrain.evaluation.solved_shares import solved_in_a_row
        from posttrain.models.chat import Chat
        from posttrain.models.loading import load_causal_lm
        from posttrain.storage.jsonl import read_jsonl

        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_completion_length)
        first, tokenizer = load_causal_lm(inputs.of(self.policies[0]).path, device=machine.device)
        asked = read_jsonl(inputs["prompts"].path / "heldout.jsonl")[: self.rows]
        prompts = fitting(first, tokenizer, asked, sampling)
        metrics: dict[str, Metric] = {}
        said, right = {}, {}
        labelled: dict[str, Any] = {}
        posed = []
        if self.problems is not None:
            posed = read_jsonl(inputs["problems"].path / "heldout.jsonl")[: self.rows]
        for name, stage in self.named():
            model, tokenizer = load_causal_lm(inputs.of(stage).path, device=machine.device)
            said[name] = answers(model, tokenizer, prompts, sampling, derive(self.seed, f"contest/{name}"))
            if stage is not self.policies[0]:
                pad_id = Chat(tokenizer).pad_id
                nats = kl_per_answer((model, first), said[name], sampling, pad_id, machine.micro_batch_tokens)
                metrics |= KL_OF.of(bootstrap(nats), model=name)
            if self.problems is not None:
                right[name] = self._solved(name, (model, tokenizer), sampling, posed, inputs, machine)
            metrics |= self._forgotten(name, (model, tokenizer), inputs, machine)
            labelled |= self._preferring(name, (model, tokenizer), inputs, output, machine)
        if labelled:
            metrics |= label_accuracy(labelled, self.named()[0][0])
        if self.problems is not None:
            metrics |= solved_in_a_row(right, len(self.policies), [family(problem) for problem in posed])
        rewards: dict[str, list[float]] = {name: [0.0] * len(given) for name, given in said.items()}
        if self.reward_model is not None:
            with LearnedReward(model=self.reward_model, normalise=False).open(inputs, machine) as scorer:
                rewards = {name: scorer.score(given).values.tolist() for name, given in said.items()}
        if self.judge is not None:
            with LearnedReward(model=self.judge, normalise=False).open(inputs, machine) as scorer:
                judged = {name: scorer.score(given).values.tolist() for name, given in said.items()}
            metrics |= by_judge(judged, len(self.policies)) | _judge_metrics(inputs.of(self.judge).metrics)
        return [Answers.of(name, given, rewards[name]) for name, given in said.items()], prompts, metrics

    def _headline(self, metrics: Metrics) -> list[str]:
        """What a judge and held-out comparisons say, where they were asked."""
        from posttrain.evaluation.heldout_labels import IMPLICIT_ACCURACY, LABEL_ACCURACY_OF
        from posttrain.evaluation.several import JUDGE_WIN_RATE

        kinds = (JUDGE_WIN_RATE, IMPLICIT_ACCURACY, LABEL_ACCURACY_OF)
        declared = {name: DECLARED.of(name, "report") for name in metrics}
        return [name for name, one in declared.items() if one is not None and one.kind in kinds]

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
        model: tuple[Any, Any],
        sampling: Any,
        problems: Sequence[Mapping[str, Any]],
        inputs: Inputs,
        machine: Machine,
    ) -> list[float]:
        """One answer to each held-out problem: 1 for those that it solves."""
        from posttrain.core.seeds import derive
        from posttrain.evaluation.answering import answers
        from posttrain.rewards.protocol import solved

        assert self.verifier is not None  # problems have one
        said = answers(*model, problems, sampling, derive(self.seed, f"solve/{name}"))
        with self.verifier.open(inputs, machine) as scorer:
            return solved(scorer, said)

    def _preferring(
        self, name: str, model: tuple[Any, Any], inputs: Inputs, output: Path, machine: Machine
    ) -> dict[str, Any]:
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
        self, name: str, model: tuple[Any, Any], inputs: Inputs, machine: Machine
    ) -> dict[str, Metric]:
        """Held-out pretraining loss, nats per token."""
        if self.text is None:
            return {}
        from posttrain.evaluation.text_loss import TEXT_NLL, text_loss
        from posttrain.storage.jsonl import read_jsonl

        rows = read_jsonl(inputs["text"].path / "heldout.jsonl")
        return TEXT_NLL.of(text_loss(*model, rows, machine.micro_batch_tokens), model=name)


def _judge_metrics(known: Metrics) -> dict[str, Metric]:
    """How often the judge itself sides with people on comparisons that it has not seen."""
    agreement = known.get(LABEL_ACCURACY.name)
    return {} if agreement is None else {JUDGE_ACCURACY.name: agreement}


def _rows(prompts: Sequence[Mapping[str, Any]], models: Sequence[Answers]) -> list[dict[str, Any]]:
    """A prompt a row with every policy's answer, and its gold where that is known."""
    rows = []
    for place, prompt in enumerate(prompts):
        shown: dict[str, dict[str, Any]] = {}
        for model in models:
            judgement = model.gold[place]
            answer = {"text": model.texts[place], "ended": model.ended[place]}
            shown[model.name] = answer | ({} if judgement is None else {"gold": judgement.total})
        told = {"id": prompt.get("id"), "prompt": prompt["prompt"], "family": family(prompt)}
        rows.append({**told, "answers": shown})
    return rows
