"""Prompts in, answered episodes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from posttrain.engines.protocol import Engine, Sampling
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from posttrain.rewards.protocol import Episode


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt's row and the token ids after which the assistant speaks."""

    prompt: Mapping[str, Any]  # {"prompt": messages, ...}
    ids: list[int]


def ask(chat: Chat, prompts: Sequence[Mapping[str, Any]], room: int) -> tuple[list[Asked], int]:
    """The prompts of at most ``room`` tokens, in order, and how many were longer.

    Raises UserError where none is left.
    """
    asked = [Asked(prompt=prompt, ids=chat.prompt_ids(prompt["prompt"])) for prompt in prompts]
    fitting = [one for one in asked if len(one.ids) <= room]
    if not fitting:
        shortest = min((len(one.ids) for one in asked), default=0)
        raise UserError(
            f"none of {len(asked)} prompts fits: the shortest has {shortest} tokens and {room} are left "
            "for a prompt beside the answer; shorten the prompts or lower max_tokens"
        )
    return fitting, len(asked) - len(fitting)


def sample(
    engine: Engine, chat: Chat, asked: Sequence[Asked], sampling: Sampling, seeds: Sequence[int]
) -> list[Episode]:
    """One answer to each entry of ``asked``, in that order, from its seed.

    Ask a prompt several times with several seeds for several answers; the engine reads it once. An answer
    stops at the chat's stop tokens where ``sampling`` names none.
    """
    sampling = replace(sampling, stop_ids=sampling.stop_ids or chat.stop_ids)
    numbers = [engine.submit(one.ids, sampling, seed) for one, seed in zip(asked, seeds, strict=True)]
    found = {completion.request: completion for completion in engine.finished()}
    episodes = []
    for one, number in zip(asked, numbers, strict=True):
        completion = found[number]
        episodes.append(
            Episode(
                prompt=one.prompt,
                response=chat.decode(completion.tokens),
                ids=[*one.ids, *completion.tokens],
                mask=[False] * len(one.ids) + [True] * len(completion.tokens),
                logprobs=completion.logprobs,
                ended=completion.ended,
                version=completion.version,
            )
        )
    return episodes
