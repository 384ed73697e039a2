"""Pretraining text as another part of every update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from posttrain.data.rows import JsonRow
from posttrain.metrics import declare_metric
from posttrain.pipeline.finding import UserError

if TYPE_CHECKING:
    from posttrain.models.chat import Chat
    from posttrain.models.language_policy import LanguagePolicy
    from posttrain.training.update import Part

OF_TEXT = declare_metric(
    "pretraining_{metric}",
    "Of the pretraining text that is mixed into every update:",
    unit="",
    better="none",
    title="{metric} of pretraining text",
)


def mixing_in(
    policy: LanguagePolicy, chat: Chat, text: Sequence[JsonRow], coef: float, count_and_seed: tuple[int, int]
) -> Callable[[int], Part]:
    """Of the number of updates made: that update's part, ``coef`` times the negative log-likelihood per token
    of some of ``text``, whose rows are gone through in an order of their own each time.

    ``count_and_seed`` is how many texts an update reads, and a seed. Raises UserError without text.
    """
    from posttrain.core.preferences import wanted
    from posttrain.direct_alignment.sft import SFT
    from posttrain.models.collate import rollouts
    from posttrain.rollouts.encode import example
    from posttrain.storage.token_rows import TokenRow
    from posttrain.training.fit import Epochs
    from posttrain.training.update import Part

    if not text:
        raise UserError("there is no pretraining text to mix in; give pretraining rows")
    count, seed = count_and_seed
    method, plan = SFT(), Epochs(len(text), count, seed)

    def of(updates: int) -> Part:
        made = [example(chat, text[index]) for index in plan.at(updates)]
        return Part(
            wanted(rollouts([TokenRow(ids=ids, mask=mask) for ids, mask in made], chat.pad_id)),
            lambda batch: policy.evaluate(batch.rollouts, method.wants),
            method.loss,
            coef=coef,
            name=OF_TEXT.named(metric=""),
        )

    return of
