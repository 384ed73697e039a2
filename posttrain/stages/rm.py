"""Reward modeling: from comparisons to one number an answer."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.checks import (
    calibrated,
    model_fits,
    more_than_length,
    ranks_better_than_chance,
    rows_ahead,
    rows_enough,
)
from posttrain.checks.thresholds import OfRewardModel
from posttrain.core.batch import PreferenceBatch, RewardLoss, Term, Wants
from posttrain.core.reduction import chosen_mean
from posttrain.cost.sizes import ANSWERS, Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.data.row_counts import heldout, row_counts
from posttrain.metrics import declare_metric
from posttrain.models.reading import Reading
from posttrain.pipeline.enough import ForeseenRows
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.kinds import ComparisonStage
from posttrain.pipeline.stage import SCALAR, Compute, Inputs, Machine, Report, Stage, judging, later
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.stages.fitting import Fitting, judged, left_out, mismatched, pairs, same_prompt
from posttrain.stages.imitating import SFT_NLL
from posttrain.stages.rm_heldout import LABEL_ACCURACY, UNTRAINED_TRUNK, heldout_metrics, loss_floor
from posttrain.storage.chunks import Chunks

if TYPE_CHECKING:
    from torch import Tensor

    from posttrain.models.lora import Lora
    from posttrain.models.roles import RewardRole
    from posttrain.storage.preference_store import PreferenceStore

HEAD_RIDGE = declare_metric(
    "head_ridge",
    "Ridge penalty of the head that was fitted before training, chosen by cross-validation.",
    unit="penalty",
    better="none",
)
SCALED = 8192  # answers, some 700 prompts, give the mean of scores within 0.04 and the deviation within 3 %


@dataclass(frozen=True, kw_only=True)
class RewardModeling(Stage):
    """Trains ``base`` with a scalar head on ``comparisons``. With ``shuffled_labels`` every comparison is
    turned by a coin: the control that shows what is left without the labels.

    ``sft_coef`` reads the chosen answers through the same trunk, so that what the trunk knows is not given up
    for the comparisons at hand. Comparisons of answers to the same prompt are in the same batch, and an
    answer is read once for all of them (InstructGPT 2022, section 3.5). ``mismatched`` adds the
    non-contextual pairs of RRM (section 3.2): the chosen answer beats what was chosen for another prompt.
    """

    address = "rm"
    does = "reward model"
    amounts = (("rows", "{} rows"), ("epochs", "{} epochs"))
    version = 3  # the scale of scores is that of the first answers; the floor of the loss stands beside it
    positive = ("learning_rate", "batch_size", "epochs", "max_length")
    fits = model_fits.check
    usable = model_fits.usable
    needs = (SCALAR,)
    base: Stage
    """The model whose trunk gets a head of one score."""
    comparisons: ComparisonStage
    """Pairs of answers, of which one was chosen."""
    method: RewardLoss = field(default_factory=BradleyTerry)
    """The loss: a file of ``posttrain/reward_losses``, such as bradley_terry or plackett_luce."""
    learning_rate: float = 5e-4
    """Peak step size of AdamW; it falls along half a cosine to 0."""
    weight_decay: float = 0.1
    """Weight decay of AdamW; larger keeps the weights smaller."""
    batch_size: int = 32
    """Comparisons in an update; those about one prompt stay together."""
    epochs: int = 1
    """How often all comparisons are read; reward models overfit after the first (Ouyang et al. 2022)."""
    warmup: int = 10
    """Updates over which the learning rate rises from 0, at most a quarter of all."""
    max_length: int = 256
    """Longest prompt and answer in tokens; longer rows are left out and counted."""
    sft_coef: float = 0.0
    """Weight of the chosen answers' negative log-likelihood in the loss (Yang et al. 2024, GRM, eq. 5)."""
    rows: int = 0
    """Comparisons that are learned from, the first ones; 0 takes all."""
    lora: Lora | None = None
    """Adapters trained in place of the weights (``rm.lora=lora rm.lora.rank=16``); none trains all."""
    shuffled_labels: bool = False
    """Every comparison is turned by a coin: the control that shows what is left without the labels."""
    seed: int = 0
    """Seed of the order of the rows and of the head."""
    mismatched: float = later(0.0)
    """Share of comparisons to which one against another prompt's answer is added (Liu et al. 2024)."""
    compute: Compute = later("float32")
    """Number format of matrix products in training; weights and heads stay in float32."""
    reading: Reading = later(Reading())
    """Where in the model the score is read."""
    fitted_head: bool = later(False)
    """The head starts as the ridge-penalised fit on what the untrained trunk holds, not at random."""
    gate_stops: bool = later(True)
    """A failed gate ends the recipe; false only reports it."""
    thresholds: OfRewardModel = judging(OfRewardModel())
    """From which values on the gates of this stage fail."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sft_coef and self.reading.layer:
            raise UserError(
                f"sft_coef={self.sft_coef} reads the likelihood of answers after the last layer, and "
                f"reading.layer={self.reading.layer} cuts it off; give sft_coef=0 or reading.layer=0"
            )

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the model with one label, ``scale.json`` and ``metrics.jsonl``."""
        from posttrain.models.chat import Chat
        from posttrain.models.roles import ModelPlacement, open_reward
        from posttrain.reward_losses.bradley_terry import PAIR_LOSS_FLOOR
        from posttrain.rollouts.encode import conversation_metrics, scores
        from posttrain.storage.jsonl import RowsInFile
        from posttrain.storage.lazy import Mapped
        from posttrain.storage.preference_store import PreferenceStore
        from posttrain.training.optimizer import Group

        source = inputs["comparisons"].path
        placement = ModelPlacement(device=machine.device, compute=self.compute, recompute=machine.recompute)
        role = open_reward(
            inputs["base"].path, lora=self.lora, seed=self.seed, placement=placement, reading=self.reading
        )
        chat = Chat(role.tokenizer)
        train, held = PreferenceStore(output.parent), PreferenceStore(output.parent)
        tokens = partial(Chunks, machine.scratch)
        counts, held_counts = (
            pairs(chat, RowsInFile(source / f"{side}.jsonl"), self.max_length, store, most, tokens(side))
            for side, store, most in (("train", train, self.rows), ("heldout", held, 0))
        )
        if not train:
            raise UserError(
                f"no comparison can be learned from: {counts}; ties and equal answers teach nothing"
            )
        conversations, notes = conversation_metrics(chat, RowsInFile(source / "train.jsonl"))
        if self.shuffled_labels:
            train = self._shuffled(train)
        answers = Mapped(min(len(train.rows), SCALED), train.rows.read)  # without those that follow
        counted = row_counts(len(train), len(held)) | left_out(counts)
        counted |= PAIR_LOSS_FLOOR.of(loss_floor(train))
        if self.fitted_head:
            counted |= HEAD_RIDGE.of(_fit_head(role, train, chat.pad_id, machine))
            untrained = heldout_metrics(role.reward, held, chat.pad_id, machine)
            counted |= UNTRAINED_TRUNK.of(untrained[LABEL_ACCURACY.name].value)
        self._add_mismatched(train)
        plan = Fitting.of(self, len(train), shown=["pair_loss", "accuracy"], together=same_prompt(train))
        group = Group(
            name="reward",
            parameters=role.reward.parameters(),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )
        forward, method = _loss(role, self.method, self.sft_coef, inputs["base"].path)
        batch = partial(_batch, train, chat.pad_id)
        plan.run(group, forward, method, batch, output, machine, lambda index: train[index].rows)
        role.save(output)
        _save_scale(scores(role.reward, answers, chat.pad_id, machine.micro_batch_tokens), output)
        counted |= heldout(left_out(held_counts)) | conversations | role.metrics
        return Report(metrics=heldout_metrics(role.reward, held, chat.pad_id, machine) | counted, notes=notes)

    def _shuffled(self, train: PreferenceStore) -> PreferenceStore:
        """The comparisons, each turned by a coin."""
        coin = random.Random(f"shuffled labels:{self.seed}")
        turned = type(train)(train.directory)
        for pair in train:
            turned.append(pair if coin.random() < 0.5 else replace(pair, rows=pair.rows[::-1]))
        return turned

    def _add_mismatched(self, train: PreferenceStore) -> None:
        """Comparisons of chosen answers with answers to other prompts follow those that are there."""
        coin, indices = random.Random(f"mismatched:{self.seed}"), range(len(train))
        asked = array("q", (index for index in indices if coin.random() < self.mismatched))
        for index in asked:
            pair, other = train[index], train[coin.choice(indices)]
            both = [pair.rows[0], mismatched(pair.rows[0], other.rows[0])]
            if both[0].ids != both[1].ids:
                train.append(replace(pair, rows=both, confidence=1.0, margin=0.0))

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        if "comparisons" not in inputs:
            return []
        return rows_ahead.rows(self, model, inputs["comparisons"].path, rows_ahead.comparison)

    def enough(self, rows: ForeseenRows) -> list[Finding]:
        """Whether the user's rows fill a batch."""
        return rows_enough.check(self, rows(self.comparisons))

    def gates(self, report: Report) -> list[Finding]:
        if self.shuffled_labels:
            return []
        findings = [
            ranks_better_than_chance.check(report.metrics, self.thresholds),
            more_than_length.of_reward_model(report.metrics, self.thresholds),
            calibrated.check(report.metrics, self.thresholds),
        ]
        return [replace(one, stops=one.stops and self.gate_stops) for one in findings]

    def rehearsal(self) -> RewardModeling:
        return replace(self, epochs=1, batch_size=8)

    def work(self, inputs: Inputs) -> StageWork | None:
        size, rows = Size.of(inputs.get("base")), Rows.of(inputs.get("comparisons"))
        if size is None or rows is None:
            return None
        pair = rows.fresh * min(
            rows.row_tokens, 2 * self.max_length
        )  # an answer is read once for all its pairs
        tokens = Tokens(pair, ANSWERS * pair / 2 if self.sft_coef else 0.0)  # of the chosen answers
        used = min(rows.rows, self.rows or rows.rows)
        scored = min(used, SCALED // 2) + rows.heldout_rows + (used if self.fitted_head else 0)
        model = ModelWork(
            size=size,
            learned=used * self.epochs * (1 + self.mismatched) * tokens,
            read=Tokens(scored * pair),
            depth=self.reading.layer / size.layers if self.reading.layer else 1.0,
            adapters=self.lora,
        )
        return StageWork(
            models=(model,), minibatch=self.batch_size * pair, product=size, examples=used * self.epochs
        )


@dataclass(frozen=True)
class _Keeping:
    """A reward loss, and ``coef`` times the negative log-likelihood of the chosen answers beside it."""

    method: RewardLoss
    coef: float

    @property
    def wants(self) -> Wants:
        return self.method.wants

    def loss(self, now: tuple[Tensor, Tensor], past: PreferenceBatch) -> dict[str, Term]:
        scores, logprobs = now
        return {**self.method.loss(scores, past), SFT_NLL.name: Term(-logprobs, chosen_mean, self.coef)}


def _batch(comparisons: PreferenceStore, pad_id: int, places: list[int]) -> PreferenceBatch:
    return judged([comparisons[index] for index in places], pad_id)


def _loss(
    role: RewardRole, method: RewardLoss, sft_coef: float, source: Path
) -> tuple[Callable[[PreferenceBatch], object], object]:
    """What a batch is read with, and the loss on what was read."""
    if sft_coef == 0:
        return (lambda past: role.reward.score(past.rollouts)), method
    from posttrain.models.roles import lm_head_for

    head = lm_head_for(role, source)
    return (
        lambda past: role.reward.score_and_logprobs(past.rollouts, head, past.rank == 0),
        _Keeping(method, sft_coef),
    )


def _save_scale(rewards: Tensor, output: Path) -> None:
    from posttrain.rewards.learned import ScoreScale

    try:
        ScoreScale.of(rewards).save(output)
    except ValueError as problem:
        raise UserError(f"the reward model learned nothing: {problem}") from None


def _fit_head(role: RewardRole, train: PreferenceStore, pad_id: int, machine: Machine) -> float:
    """Gives the role's head the weights that explain the comparisons best from what its trunk holds now; the
    ridge that they were fitted with.
    """
    import torch

    from posttrain.rollouts.encode import features
    from posttrain.training.linear_preferences import fit_linear

    read = features(role.reward, train.rows, pad_id, machine.micro_batch_tokens)
    confidence = torch.tensor([pair.confidence for pair in train])
    weights, ridge = fit_linear(read[::2] - read[1::2], confidence, same_prompt(train))
    with torch.no_grad():
        role.reward.role.head.weight.copy_(weights[None])
    return ridge
