"""Direct alignment: from comparisons to a policy, without a reward model and without sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.checks import model_fits, prefers_the_chosen, rows_ahead, rows_enough
from posttrain.checks.thresholds import OfAlignment
from posttrain.core.batch import DirectAlignment, Evaluation, PreferenceBatch
from posttrain.cost.sizes import ANSWERS, Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.data.row_counts import ROWS
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.sft import SFT
from posttrain.metrics import Metric
from posttrain.pipeline.enough import ForeseenRows
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import ComparisonStage, ModelStage
from posttrain.pipeline.stage import ALIGNMENT, Compute, Inputs, Machine, Report, Stage, judging, later
from posttrain.stages.fitting import Fitting, judged, left_out, pairs, ratings, with_mismatched
from posttrain.stages.imitating import Imitating
from posttrain.stages.rm_heldout import AFTER_TRAINING, LABEL_ACCURACY
from posttrain.storage.chunks import NOT_KEPT, Chunks

if TYPE_CHECKING:
    from posttrain.models.chat import Chat
    from posttrain.models.language_policy import LanguagePolicy
    from posttrain.models.lora import Lora
    from posttrain.storage.logprob_store import LogprobStore
    from posttrain.storage.preference_store import PreferenceStore


AT_ONCE = 128  # held-out comparisons that are measured together


@dataclass(frozen=True, kw_only=True)
class Alignment(Stage):
    """Trains ``policy`` on ``comparisons``. The reference is ``policy`` as it came, read once, before the
    first update; a method without one does not read it.

    ``comparisons`` are pairs, or for KTO also answers that were rated alone. A method that measures the
    current policy (KTO) also reads each prompt with the answer to another.
    """

    address = "alignment"
    does = "direct alignment"
    role = ALIGNMENT
    amounts = (("epochs", "{} epochs"),)
    version = 2  # a pair is a tie where half or more of its annotators say so
    positive = ("learning_rate", "batch_size", "epochs", "max_length")
    fits = model_fits.check
    usable = model_fits.usable
    policy: ModelStage
    """The model that is trained; as it came it is also the reference."""
    comparisons: ComparisonStage
    """Pairs of answers, or for KTO answers that were rated alone."""
    method: DirectAlignment = field(default_factory=DPO)
    """The direct alignment loss: a file of ``posttrain/direct_alignment``, such as dpo, ipo or kto."""
    learning_rate: float = 1e-4
    """Peak step size of AdamW; it falls along half a cosine to 0."""
    batch_size: int = 32
    """Comparisons in an update."""
    epochs: int = 1
    """How often all comparisons are read."""
    warmup: int = 10
    """Updates over which the learning rate rises from 0, at most a quarter of all."""
    max_length: int = 256
    """Longest prompt and answer in tokens; longer rows are left out and counted."""
    lora: Lora | None = None
    """Adapters trained in place of the weights (``alignment.lora=lora``); none trains all."""
    seed: int = 0
    """Seed of the order of the rows and of new weights."""
    sft_coef: float = later(0.0)
    """Weight of the chosen answers' negative log-likelihood in the loss (Liu et al. 2024, RPO)."""
    decay_to_start: float = later(0.0)
    """Weight decay towards the weights at the start; larger stays closer (Li et al. 2018, L2-SP)."""
    compute: Compute = later("float32")
    """Number format of matrix products in training; weights and heads stay in float32."""
    gate_stops: bool = later(True)
    """A failed gate ends the recipe; false only reports it."""
    thresholds: OfAlignment = judging(OfAlignment())
    """From which values on the gates of this stage fail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.method, SFT):
            raise UserError("sft learns from demonstrations and would copy both answers; give another method")

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the policy (and its adapter in ``adapter/``) and ``metrics.jsonl``."""
        from posttrain.core.implicit_reward import ACCURACY, REWARD_CHOSEN, REWARD_REJECTED
        from posttrain.direct_alignment.kto import BASELINE
        from posttrain.models.chat import Chat
        from posttrain.models.roles import ModelPlacement, open_policy
        from posttrain.rollouts.encode import conversation_metrics
        from posttrain.storage.jsonl import RowsInFile
        from posttrain.storage.preference_store import PreferenceStore
        from posttrain.training.optimizer import Group
        from posttrain.training.run_summary import FINAL, UPDATES

        source = inputs["comparisons"].path
        placement = ModelPlacement(device=machine.device, compute=self.compute, recompute=machine.recompute)
        roles = open_policy(inputs["policy"].path, lora=self.lora, seed=self.seed, placement=placement)
        chat, policy = Chat(roles.tokenizer), roles.policy
        train, held = PreferenceStore(output.parent), PreferenceStore(output.parent)
        chunks = partial(Chunks, machine.scratch)
        counts = self._read(chat, source / "train.jsonl", train, chunks("train"))
        self._read(chat, source / "heldout.jsonl", held, chunks("heldout"))
        if not train:
            raise UserError(
                f"no comparison can be learned from: {counts}; ties and equal answers teach nothing"
            )
        conversations, notes = conversation_metrics(chat, RowsInFile(source / "train.jsonl"))
        batches = Batches.of(train, self.method, policy, chat.pad_id, machine, chunks("reference/train"))
        unseen = Batches.of(held, self.method, policy, chat.pad_id, machine, chunks("reference/heldout"))
        plan = Fitting.of(self, len(train), shown=["accuracy", "gap"])
        history = plan.run(
            Group(
                name="policy",
                parameters=policy.parameters_of("policy"),
                learning_rate=self.learning_rate,
                decay_to_start=self.decay_to_start,
            ),
            lambda past: policy.evaluate(past.rollouts, self.method.wants),
            self.method if self.sft_coef == 0 else Imitating(self.method, self.sft_coef),
            batches.at,
            output,
            machine,
            lambda index: batches.store[index].rows,
        )
        metrics = _held(policy, self.method, unseen, machine)
        roles.save(output)
        last = history[-max(1, len(history) // 10) :]
        for kind in (ACCURACY, REWARD_CHOSEN, REWARD_REJECTED, BASELINE):
            if kind.name in last[0]:
                metrics |= FINAL.of(sum(row[kind.name] for row in last) / len(last), metric=kind)
        metrics |= ROWS.of(len(train)) | UPDATES.of(len(history)) | left_out(counts)
        return Report(metrics=metrics | conversations | roles.metrics, notes=notes)

    def _read(self, chat: Chat, file: Path, store: PreferenceStore, chunks: Chunks) -> dict[str, int]:
        """Adds the comparisons of the file to ``store``; what was dropped, by reason."""
        from posttrain.storage.jsonl import RowsInFile

        rows = RowsInFile(file)
        if not rows or "label" not in rows[0]:
            return pairs(chat, rows, self.max_length, store, chunks=chunks)
        if self.method.wants.whole_groups:
            raise UserError(
                f"{type(self.method).__name__} compares two answers, and these rows rate one each: use "
                f"{self.name or self.address}.method=kto, or rows with chosen and rejected"
            )
        return ratings(chat, rows, self.max_length, store, chunks)

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        if "comparisons" not in inputs:
            return []
        return rows_ahead.rows(self, model, inputs["comparisons"].path, rows_ahead.comparison)

    def enough(self, rows: ForeseenRows) -> list[Finding]:
        """Whether the user's rows fill a batch."""
        return rows_enough.check(self, rows(self.comparisons))

    def gates(self, report: Report) -> list[Finding]:
        return [replace(prefers_the_chosen.check(report.metrics, self.thresholds), stops=self.gate_stops)]

    def rehearsal(self) -> Alignment:
        return replace(self, epochs=1, batch_size=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        size, rows = Size.of(inputs.get("policy")), Rows.of(inputs.get("comparisons"))
        if size is None or rows is None:
            return None
        wants = self.method.wants
        pair = min(rows.row_tokens, 2 * self.max_length)
        pair *= 1.5 if wants.measure else 1.0  # a third answer, to the prompt before
        tokens = Tokens(pair, ANSWERS * pair)
        learned = rows.rows * self.epochs
        read = rows.heldout_rows + (learned if wants.measure else 0)
        read += rows.rows + rows.heldout_rows if wants.reference else 0
        model = ModelWork(size=size, learned=learned * tokens, read=read * tokens, adapters=self.lora)
        return StageWork(models=(model,), minibatch=self.batch_size * pair, product=size, examples=learned)


@dataclass(frozen=True, kw_only=True)
class Batches:
    """What was said, with what the reference says of each of its rows."""

    store: PreferenceStore
    reference: LogprobStore | None
    pad_id: int

    @classmethod
    def of(
        cls,
        store: PreferenceStore,
        method: DirectAlignment,
        policy: LanguagePolicy,
        pad_id: int,
        machine: Machine,
        chunks: Chunks = NOT_KEPT,
    ) -> Batches:
        """The reference is ``policy`` as it is now; what it says is kept in ``chunks`` as it is computed."""
        from posttrain.rollouts.batched_eval import logprobs

        if method.wants.measure and len(store) > 1:
            store = with_mismatched(store)
        reference = None
        if method.wants.reference and store:
            limit = machine.micro_batch_tokens
            reference = logprobs(policy, store.rows, pad_id, limit, store.directory, chunks)
        return cls(store=store, reference=reference, pad_id=pad_id)

    def at(self, places: Sequence[int], width: int | None = None) -> PreferenceBatch:
        """What was said at these places as PreferenceBatch rows: each a group, a mismatched answer
        of rank -1.
        """
        past: PreferenceBatch = judged([self.store[index] for index in places], self.pad_id, width)
        if self.reference is None:
            return past
        return replace(past, reference=self.evaluation(self.reference, places, past))

    def evaluation(self, logprobs: LogprobStore, places: Sequence[int], past: PreferenceBatch) -> Evaluation:
        """The ``logprobs`` of the rows at these places, which are those of ``past``; [B, T], 0 where no step
        was chosen.
        """
        import torch

        mask = past.rollouts.action_mask
        flat = torch.cat([logprobs[row] for index in places for row in self.store.row_range(index)])
        return Evaluation(logprobs=flat.new_zeros(mask.shape).masked_scatter(mask, flat))


def _held(
    policy: LanguagePolicy, method: DirectAlignment, held: Batches, machine: Machine
) -> dict[str, Metric]:
    """How often the method's own reward is higher for what was chosen, on held-out comparisons; where answers
    were rated alone, how often it has the sign of the rating."""
    from posttrain.core.batch import concatenate
    from posttrain.core.implicit_reward import ACCURACY, log_ratio, pair_metrics
    from posttrain.core.preferences import pairs as of_rows
    from posttrain.evaluation.intervals import wilson
    from posttrain.rollouts.batched_eval import logprobs

    store = held.store
    if not store:
        return LABEL_ACCURACY.of("unknown")
    current = logprobs(policy, store.grouped, held.pad_id, machine.micro_batch_tokens, store.directory)
    width = store.rows.longest - 1  # of all, so that the sum of a row has the same bits beside any others

    def part(places: range) -> tuple[Evaluation, PreferenceBatch]:
        past = held.at(places, width)
        return held.evaluation(current, places, past), past

    parts = [range(at, min(at + AT_ONCE, len(store))) for at in range(0, len(store), AT_ONCE)]
    baseline = None
    if method.wants.measure:
        steps = [_one_step(*part(places)) for places in parts]
        of_all = concatenate([now for now, _ in steps]), concatenate([past for _, past in steps])
        baseline = method.measure(*of_all).baseline
    totals: dict[str, float] = {}
    for places in parts:
        now, past = part(places)
        if baseline is not None:
            first = store.row_range(places.start).start
            past = replace(past, baseline=baseline[first : first + len(past.rank)])
        terms, between = method.loss(now, past), of_rows(past)
        if len(between.winner) and not method.wants.whole_groups:  # it judges rows alone, these are pairs
            h = log_ratio(now, past)
            terms |= pair_metrics(h[between.winner], h[between.loser], between, len(h))
        for name, term in terms.items():
            # a mean over rows or pairs, of which each comparison has as many
            amount = float((term.reduction(past) * term.values).sum())
            totals[name] = totals.get(name, 0.0) + amount * (len(places) / len(store))
    right = round(totals.pop(ACCURACY.name) * len(store))
    metrics = LABEL_ACCURACY.of(wilson(right, len(store)))
    for name, value in totals.items():
        metrics |= AFTER_TRAINING.of(value, metric=name)
    return metrics


def _one_step(now: Evaluation, past: PreferenceBatch) -> tuple[Evaluation, PreferenceBatch]:
    """Each row as a single step with the row's log-ratio, which is all that is measured of it."""
    from posttrain.core.implicit_reward import log_ratio

    ratio = log_ratio(now, past)[:, None]
    none = ratio.new_zeros(ratio.shape)
    facts = replace(
        past.rollouts,
        context={},
        actions=none,
        action_mask=none == 0,
        turn=none,
        logprobs=none,
        rewards=none,
    )
    return Evaluation(logprobs=ratio), replace(past, rollouts=facts, reference=Evaluation(logprobs=none))
