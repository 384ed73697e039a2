"""Answers that were kept as text, back to tokens, and what a reward model says of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Rollouts
from posttrain.data.alike import firsts, numbered
from posttrain.data.by_place import Made
from posttrain.models.chat import Chat
from posttrain.models.collate import Row
from posttrain.models.language_policy import LanguageReward
from posttrain.rollouts.in_parts import in_parts


def reread(
    chat: Chat, prompt: Sequence[Mapping[str, Any]], answer: Sequence[Mapping[str, Any]], ended: bool = True
) -> Row:
    """A prompt and its answer, both messages, as tokens; an answer that a limit cut has no token that ends
    it.
    """
    ids, mask = chat.example([*prompt, *answer])
    if not ended:
        last = max(place for place, own in enumerate(mask) if own)
        if ids[last] in chat.stop_ids and sum(mask) > 1:
            ids, mask = ids[:last], mask[:last]
    return Row(ids=ids, mask=mask)


def example(chat: Chat, row: Mapping[str, Any]) -> tuple[list[int], list[bool]]:
    """A demonstration as tokens and a mask of what is learned: {"messages"}, or plain text that goes on,
    {"prompt", "completion"}.
    """
    if "messages" in row:
        return chat.example(row["messages"])
    return chat.text_example(row["prompt"], row["completion"])


@torch.no_grad()
def scores(reward: LanguageReward, rows: Sequence[Row], pad_id: int, micro_batch_tokens: int) -> Tensor:
    """[n] float32: one number an answer, without gradient; an answer given several times is read once."""
    return _once(lambda part: reward.score(part).sum(-1), rows, pad_id, micro_batch_tokens)


def features(reward: LanguageReward, rows: Sequence[Row], pad_id: int, micro_batch_tokens: int) -> Tensor:
    """[n, D] float32: what the head of a reward model is applied to; an answer given several times is read
    once.
    """
    return _once(reward.features, rows, pad_id, micro_batch_tokens)


def _once(
    read: Callable[[Rollouts], Tensor], rows: Sequence[Row], pad_id: int, micro_batch_tokens: int
) -> Tensor:
    kinds = numbered(array("i", row.ids).tobytes() + bytes(row.mask) for row in rows)
    first = firsts(kinds)
    once = Made(len(first), lambda kind: replace(rows[first[kind]], group=-1))
    parts = [read(part) for part in in_parts(once, pad_id, micro_batch_tokens)]
    return torch.cat(parts).float().cpu()[torch.tensor(kinds)]
