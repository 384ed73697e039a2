"""The work of reinforcement: what sampler, policy, reference, reward models and critic read of each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from posttrain.core.batch import PolicyGradient
from posttrain.cost.sizes import NO_TOKENS, Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.pipeline.stage import Compute, Inputs, Stage
from posttrain.stages.scoring_work import scorers

if TYPE_CHECKING:
    from posttrain.models.lora import Lora


class Reinforcing(Protocol):
    """What work, collector and optimizer depend on of ``Reinforcement``, where each has its sentence."""

    @property
    def method(self) -> PolicyGradient: ...
    @property
    def teacher(self) -> Stage | None: ...
    @property
    def batch_shape(self) -> tuple[int, int]: ...
    @property
    def steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def critic_learning_rate(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def decay_to_start(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def temperature(self) -> float: ...
    @property
    def max_completion_length(self) -> int: ...
    @property
    def pretraining_rows(self) -> int: ...
    @property
    def lora(self) -> Lora | None: ...
    @property
    def compute(self) -> Compute: ...


def work_of(stage: Reinforcing, inputs: Inputs) -> StageWork | None:
    """The stage's work, from the sizes of its models and rows; None where they are not known."""
    size, prompts = Size.of(inputs.get("policy")), Rows.of(inputs.get("prompts"))
    if size is None or prompts is None:
        return None
    method, (asked, each) = stage.method, stage.batch_shape
    wants, updates = method.wants, stage.steps * method.epochs * method.minibatches
    answer = stage.max_completion_length / 2  # where answers end by themselves
    batch = Tokens.of_answers(asked, each, prompts.row_tokens, answer)
    once = stage.steps * batch
    learned = method.epochs * once
    if (text := Rows.of(inputs.get("pretraining"))) is not None:
        mixed = updates * stage.pretraining_rows * text.row_tokens
        learned += Tokens(mixed, mixed)
    # for ratios and a critic's values; a batch that is one update is read once for both
    before = once if (wants.before or wants.values) and method.minibatches > 1 else NO_TOKENS
    frozen = once if wants.reference else NO_TOKENS
    reference = Size.of(inputs.get("teacher")) if stage.teacher is not None else size
    # where the reference is the trunk without its adapters
    adapted = stage.lora is not None and stage.teacher is None
    greedy = Tokens.of_answers(asked, 1, prompts.row_tokens, answer) if wants.greedy else NO_TOKENS
    models = [
        ModelWork(
            size=size,
            sampled=once + stage.steps * greedy,
            read=before + frozen if adapted else before,
            learned=learned,
            adapters=stage.lora,
        ),
        *scorers(inputs, once),
    ]
    if reference is not None and not adapted:
        models.append(ModelWork(size=reference, read=frozen))
    if wants.values:
        critic = Size.of(inputs.get("critic")) or size
        values = Tokens((method.epochs * once).trunk)
        models.append(ModelWork(size=critic, read=Tokens(before.trunk), learned=values, adapters=stage.lora))
    return StageWork(
        models=tuple(models),
        minibatch=batch.trunk / method.minibatches,
        rows_sampled=asked * each,
        row_length=prompts.row_tokens + stage.max_completion_length,
        compute=stage.compute,
        product=size,
        examples=stage.steps * asked * each,
        reinforces=True,
    )
