"""Answers that were kept as text, back to tokens, and what a reward model says of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Rollouts
from posttrain.data.dedup import first_indices, number_items
from posttrain.metrics import Metric, declare_metric
from posttrain.models.chat import Chat
from posttrain.models.language_policy import LanguageReward
from posttrain.rollouts.batched_eval import micro_batches
from posttrain.storage.lazy import Mapped
from posttrain.storage.token_rows import TokenRow

SERVED_OTHERWISE = declare_metric(
    "served_otherwise_share",
    "Share of the conversations compared that a server would read as other tokens than are trained on.",
    unit="share of conversations",
    better="down",
)
SPECIAL_TOKENS = declare_metric(
    "special_tokens_as_text",
    "Conversations that hold the text of a special token, which is read as plain text.",
    unit="conversations",
    better="down",
)

COMPARED = 200  # conversations; a share of them is known to 4 points


def encode_answer(
    chat: Chat, prompt: Sequence[Mapping[str, Any]], answer: Sequence[Mapping[str, Any]], ended: bool = True
) -> TokenRow:
    """A prompt and its answer, both messages, as tokens; a truncated answer (``ended`` false) has
    no stop token.

    Answers inside the prompt are read, not learned.
    """
    read, written = ([{**m, "weight": weight} for m in part] for weight, part in enumerate((prompt, answer)))
    ids, mask = chat.example([*read, *written])
    if not ended:
        last = max(index for index, learned in enumerate(mask) if learned)
        if ids[last] in chat.stop_ids and sum(mask) > 1:
            ids, mask = ids[:last], mask[:last]
    return TokenRow(ids=ids, mask=mask)


def example(chat: Chat, row: Mapping[str, Any]) -> tuple[list[int], list[bool]]:
    """A demonstration, {"messages"} or plain {"prompt", "completion"}, as tokens and a mask
    of learned ones.
    """
    if "messages" in row:
        return chat.example(row["messages"])
    return chat.text_example(row["prompt"], row["completion"])


def conversation_metrics(
    chat: Chat, rows: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Metric], list[str]]:
    """What is to be known of conversations and prompts as tokens, and notes on it, each where there is any.

    ``special_tokens_as_text`` counts those whose messages hold the text of a special token.
    ``served_otherwise_share`` is that of the first ``COMPARED`` with an earlier answer, or such a text, that
    a server would read as other tokens than are trained on: it fills the template in anew for every turn.
    """
    holding = compared = folded = 0
    different: list[str] = []
    for row in rows:
        messages = _conversation(row)
        before = messages[:-1] if messages and messages[-1]["role"] == "assistant" else messages
        inside = chat.special.inside(messages)
        holding += inside
        folded += chat.folds_system and bool(messages) and messages[0]["role"] == "system"
        if compared < COMPARED and (inside or any(m["role"] == "assistant" for m in before)):
            compared += 1
            trained, served = chat.prompt_ids(before), chat.served_ids(before)
            if trained != served:
                different.append(_first_difference(chat, trained, served))
    metrics: dict[str, Metric] = {}
    notes = []
    if compared:
        metrics |= SERVED_OTHERWISE.of(len(different) / compared)
    if different:
        notes.append(
            f"{len(different)} of {compared} conversations will be served as other tokens than are trained "
            f"on: {different[0]}."
        )
    if holding:
        metrics |= SPECIAL_TOKENS.of(holding)
        notes.append(f"{holding} conversations hold the text of a special token; it was read as plain text.")
    if folded:
        notes.append(
            f"The chat template refuses system messages: those of {folded} conversations were put before the "
            "user's first message."
        )
    return metrics, notes


def _conversation(row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """A demonstration, a comparison with its better answer, or a prompt; nothing for plain text."""
    if "messages" in row:
        return list(row["messages"])
    prompt = row.get("prompt")
    return [] if not prompt or isinstance(prompt, str) else [*prompt, *row.get("chosen", ())]


def _first_difference(chat: Chat, trained: list[int], served: list[int] | None) -> str:
    if served is None:
        return "the chat template refuses them as they are"
    index = next((n for n, (a, b) in enumerate(zip(trained, served, strict=False)) if a != b), 0)
    here, served_text = (
        chat.tokenizer.decode(ids[max(index - 4, 0) : index + 8]) for ids in (trained, served)
    )
    return f"at token {index} of one {here!r} is trained and {served_text!r} served"


@torch.no_grad()
def scores(reward: LanguageReward, rows: Sequence[TokenRow], pad_id: int, micro_batch_tokens: int) -> Tensor:
    """[n] float32: one number an answer, without gradient; an answer given several times is read once."""
    return _once(lambda part: reward.score(part).sum(-1), rows, pad_id, micro_batch_tokens)


def features(
    reward: LanguageReward, rows: Sequence[TokenRow], pad_id: int, micro_batch_tokens: int
) -> Tensor:
    """[n, D] float32: the input of a reward model's head; repeated answers are evaluated once."""
    return _once(reward.features, rows, pad_id, micro_batch_tokens)


def _once(
    read: Callable[[Rollouts], Tensor], rows: Sequence[TokenRow], pad_id: int, micro_batch_tokens: int
) -> Tensor:
    kinds = number_items(array("i", row.ids).tobytes() + bytes(row.mask) for row in rows)
    first = first_indices(kinds)
    once = Mapped(len(first), lambda kind: replace(rows[first[kind]], group=-1))
    parts = [read(part) for part in micro_batches(once, pad_id, micro_batch_tokens)]
    return torch.cat(parts).float().cpu()[torch.tensor(kinds)]
