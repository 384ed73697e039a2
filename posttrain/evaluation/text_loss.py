"""The loss on plain text: what a model still knows of what it once read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posttrain.core.batch import Wants
from posttrain.core.masked import masked_mean
from posttrain.models.chat import Chat
from posttrain.models.collate import Row, rollouts
from posttrain.models.language_policy import LanguagePolicy
from posttrain.rollouts.reread import example
from posttrain.training.evaluate import in_slices
from posttrain.training.update import cut


def text_loss(model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]], limit: int) -> float:
    """Nats per token of {"prompt", "completion"} rows of plain text; those beyond the context are left out.

    ``limit`` bounds tokens held at a time. Raises ValueError where no row fits.
    """
    chat = Chat(tokenizer)
    context = int(model.config.max_position_embeddings)
    made = [Row(ids=ids, mask=mask) for ids, mask in (example(chat, row) for row in rows)]
    fitting = [row for row in made if len(row.ids) <= context]
    if not fitting:
        raise ValueError(f"none of {len(made)} texts fits into {context} tokens")
    batch = rollouts(fitting, chat.pad_id)
    policy, wants = LanguagePolicy(model), Wants(before=False, entropy=False)
    said = in_slices(lambda part: policy.evaluate(part, wants), batch, cut(batch, limit))
    return -float(masked_mean(said.logprobs, batch.action_mask))
