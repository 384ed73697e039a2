"""Answers that were kept as text, back to tokens, and what a reward model says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.models.chat import Chat
from posttrain.models.collate import Row, rollouts
from posttrain.models.language_policy import LanguageReward
from posttrain.training.evaluate import in_slices
from posttrain.training.update import cut


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


def scores(reward: LanguageReward, rows: Sequence[Row], pad_id: int, micro_batch_tokens: int) -> Tensor:
    """[n] float32: one number an answer, without gradient; an answer given several times is read once."""
    place: dict[tuple[tuple[int, ...], tuple[bool, ...]], int] = {}
    places = [place.setdefault((tuple(row.ids), tuple(row.mask)), len(place)) for row in rows]
    first = {at: row for at, row in reversed(list(zip(places, rows, strict=True)))}
    batch = rollouts([replace(first[at], group=-1) for at in range(len(place))], pad_id)
    slices = cut(batch, micro_batch_tokens)
    found: torch.Tensor = in_slices(lambda part: reward.score(part).sum(-1), batch, slices)
    return found.float().cpu()[places]
