"""Instruction tuning: maximum likelihood of demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.checks import (
    ends_its_answers,
    learned_by_heart,
    learned_demonstrations,
    model_fits,
    rows_ahead,
    rows_enough,
)
from posttrain.checks.thresholds import OfTuning
from posttrain.cost.sizes import ANSWERS, Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.data.row_counts import ROWS
from posttrain.data.rows import JsonRow
from posttrain.direct_alignment.sft import SFT
from posttrain.metrics import declare_metric
from posttrain.pipeline.enough import ForeseenRows
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import DemonstrationStage
from posttrain.pipeline.stage import Compute, Inputs, Machine, Report, Stage, judging, later
from posttrain.stages.fitting import Fitting
from posttrain.storage.chunks import NOT_KEPT, Chunks, row_by_row

if TYPE_CHECKING:
    from posttrain.models.chat import Chat
    from posttrain.models.lora import Lora
    from posttrain.storage.token_rows import TokenRowStore

NLL_BEFORE = declare_metric(
    "nll_heldout_before",
    "Negative log-likelihood of held-out demonstrations under the model before training.",
    unit="nats per token",
    better="down",
    title="held-out loss before",
)
NLL_AT_THE_END = declare_metric(
    "nll_train_final",
    "Negative log-likelihood of the training demonstrations, mean over the last tenth of the updates.",
    unit="nats per token",
    better="down",
    title="training loss, last updates",
)
DROPPED = declare_metric(
    "dropped",
    "Demonstrations that were left out as longer than max_length.",
    unit="rows",
    better="down",
    where="report",
)
SUPERVISED_TOKENS = declare_metric(
    "supervised_tokens",
    "Tokens that were learned from, all epochs together.",
    unit="tokens",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class InstructionTuning(Stage):
    """Trains ``base`` on ``demonstrations``; the product is a plain model (and its adapter in
    ``adapter/``).
    """

    address = "sft"
    does = "instruction tuning"
    amounts = (("epochs", "{} epochs"),)
    positive = ("learning_rate", "batch_size", "epochs", "max_length")
    fits = model_fits.check
    usable = model_fits.usable
    base: Stage
    """The model that is trained."""
    demonstrations: DemonstrationStage
    """Conversations whose assistant turns are imitated."""
    method: SFT = field(default_factory=SFT)
    """The loss; sft is maximum likelihood, the mean over supervised tokens."""
    learning_rate: float = 7e-4
    """Peak step size of AdamW; it falls along half a cosine to 0."""
    batch_size: int = 32
    """Conversations in an update."""
    epochs: int = 1
    """How often all demonstrations are read; larger fits them more closely, and then by heart."""
    warmup: int = 10
    """Updates over which the learning rate rises from 0, at most a quarter of all."""
    max_length: int = 256
    """Longest conversation in tokens; longer ones are left out and counted."""
    lora: Lora | None = None
    """Adapters trained in place of the weights (``sft.lora=lora sft.lora.rank=16``); none trains all."""
    seed: int = 0
    """Seed of the order of the rows and of new weights."""
    as_control: bool = later(False)
    """A control: the gate that it must have learned is off."""
    compute: Compute = later("float32")
    """Number format of matrix products in training; weights and heads stay in float32."""
    thresholds: OfTuning = judging(OfTuning())
    """From which values on the gates of this stage fail."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the model and ``metrics.jsonl``. Raises UserError where no demonstration can be learned
        from.
        """
        from posttrain.core.preferences import wanted
        from posttrain.models.chat import Chat
        from posttrain.models.collate import rollouts
        from posttrain.models.roles import ModelPlacement, open_policy
        from posttrain.rollouts.batched_eval import NLL_HELDOUT, nll
        from posttrain.rollouts.encode import conversation_metrics
        from posttrain.rollouts.ends import ends
        from posttrain.storage.jsonl import RowsInFile
        from posttrain.storage.token_rows import TokenRowStore
        from posttrain.training.optimizer import Group

        data, source, shared = inputs["demonstrations"].path, inputs["base"].path, self.lora is not None
        placement = ModelPlacement(device=machine.device, compute=self.compute, recompute=machine.recompute)
        roles = open_policy(source, lora=self.lora, reference=shared, seed=self.seed, placement=placement)
        chat = Chat(roles.tokenizer)
        train, held = TokenRowStore(output.parent), TokenRowStore(output.parent)
        tokens = partial(Chunks, machine.scratch)
        dropped, held_dropped = (
            examples(chat, RowsInFile(data / f"{side}.jsonl"), self.max_length, store, tokens(side))
            for side, store in (("train", train), ("heldout", held))
        )
        if not train:
            raise UserError(
                f"none of {dropped} demonstrations fits into max_length={self.max_length} tokens; raise "
                "it, or shorten the conversations"
            )
        conversations, notes = conversation_metrics(chat, RowsInFile(data / "train.jsonl"))
        plan = Fitting.of(self, len(train), shown=["nll"])
        learned = roles.policy.parameters_of("policy")
        group = Group(name="policy", parameters=learned, learning_rate=self.learning_rate)
        history = plan.run(
            group,
            lambda past: roles.policy.evaluate(past.rollouts, self.method.wants),
            self.method,
            lambda rows: wanted(rollouts([train[i] for i in rows], chat.pad_id)),
            output,
            machine,
            lambda index: [train[index]],
        )
        after = nll(roles.policy, held, chat.pad_id, machine.micro_batch_tokens)
        ended = ends(roles.policy, held, chat.stop_ids, chat.pad_id, machine.micro_batch_tokens)
        roles.save(output)
        start = (
            roles.reference or open_policy(source, placement=placement).policy
        )  # last: learning begins at once
        before = nll(start, held, chat.pad_id, machine.micro_batch_tokens)
        metrics = NLL_HELDOUT.of(after if held else "unknown") | NLL_BEFORE.of(before if held else "unknown")
        metrics |= NLL_AT_THE_END.of(_nll_at_the_end(history)) | ended
        metrics |= ROWS.of(len(train)) | DROPPED.of(dropped + held_dropped)
        metrics |= SUPERVISED_TOKENS.of(int(sum(update["tokens"] for update in history)))
        notes += _notes(chat, dropped + held_dropped, self.max_length)
        return Report(metrics=metrics | conversations | roles.metrics, notes=notes)

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        if "demonstrations" not in inputs:
            return []
        return rows_ahead.rows(self, model, inputs["demonstrations"].path, rows_ahead.demonstration)

    def enough(self, rows: ForeseenRows) -> list[Finding]:
        """Whether the user's rows fill a batch."""
        return rows_enough.check(self, rows(self.demonstrations))

    def gates(self, report: Report) -> list[Finding]:
        if self.as_control:
            return []
        return [
            learned_demonstrations.check(report.metrics),
            ends_its_answers.check(report.metrics, self.thresholds),
            learned_by_heart.check(report.metrics, self.thresholds),
        ]

    def rehearsal(self) -> InstructionTuning:
        return replace(self, epochs=1, batch_size=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        size, rows = Size.of(inputs.get("base")), Rows.of(inputs.get("demonstrations"))
        if size is None or rows is None:
            return None
        row = min(rows.row_tokens, self.max_length)
        tokens = Tokens(row, ANSWERS * row)
        model = ModelWork(
            size=size,
            learned=rows.rows * self.epochs * tokens,
            read=2 * rows.heldout_rows * tokens,  # before and after
            adapters=self.lora,
        )
        return StageWork(
            models=(model,),
            minibatch=self.batch_size * row,
            product=size,
            examples=rows.rows * self.epochs,
        )


def examples(
    chat: Chat,
    rows: Sequence[JsonRow],
    max_length: int,
    store: TokenRowStore,
    chunks: Chunks = NOT_KEPT,
) -> int:
    """Adds conversations as tokens, supervised where the assistant speaks, or plain text supervised where it
    goes on, to ``store``; how many were dropped as too long. Tokens are kept in ``chunks`` as they are
    made.
    """
    from posttrain.rollouts.encode import example
    from posttrain.storage.token_rows import Packed, TokenRow, packed, unpacked

    def encoded(row: JsonRow) -> Packed | None:
        ids, mask = example(chat, row)
        return packed(TokenRow(ids=ids, mask=mask)) if len(ids) <= max_length else None

    dropped = 0
    for one in row_by_row(chunks, len(rows), rows, encoded):
        if one is None:
            dropped += 1
        else:
            store.append(unpacked(one))
    return dropped


def _nll_at_the_end(history: list[dict[str, float]]) -> float:
    """Nats a token, the mean of the last tenth of the updates."""
    last = history[-max(1, len(history) // 10) :]
    return sum(update["nll"] for update in last) / len(last)


def _notes(chat: Chat, dropped: int, max_length: int) -> list[str]:
    notes = []
    if dropped:
        notes.append(f"{dropped} conversations were longer than {max_length} tokens and were left out.")
    if chat.uses_default_template:
        notes.append("The tokenizer has no chat template; posttrain's own was used.")
    return notes
