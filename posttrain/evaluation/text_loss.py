"""The loss on plain text: what a model still knows of what it once read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.metrics import declare_metric
from posttrain.models.chat import Chat
from posttrain.models.language_policy import LanguagePolicy
from posttrain.models.positions import context_of
from posttrain.models.prepare import prepare
from posttrain.rollouts.batched_eval import nll
from posttrain.rollouts.encode import example
from posttrain.storage.token_rows import TokenRow

TEXT_NLL = declare_metric(
    "text_nll/{model}",
    "Negative log-likelihood that {model} gives to held-out pretraining text: higher than the base's, it "
    "forgot.",
    unit="nats per token",
    better="down",
    title="loss on pretraining text: {model}",
)


def text_loss(model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]], limit: int) -> float:
    """Nats per token of {"prompt", "completion"} rows of plain text; those beyond the context are left out.

    ``limit`` bounds tokens held at a time. Raises ValueError where no row fits.
    """
    chat = Chat(tokenizer)
    context = context_of(model)
    made = [TokenRow(ids=ids, mask=mask) for ids, mask in (example(chat, row) for row in rows)]
    fitting = [row for row in made if len(row.ids) <= context]
    if not fitting:
        raise ValueError(f"none of {len(made)} texts fits into {context} tokens")
    return nll(LanguagePolicy(prepare(model)), fitting, chat.pad_id, limit)
