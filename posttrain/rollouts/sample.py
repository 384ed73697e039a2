"""Prompts in, answered episodes out."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from posttrain.core.seeds import derive
from posttrain.engines.base import Engine, Sampling
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from posttrain.rewards.base import Episode, Scorer, rewards_of
from posttrain.storage.lazy import Mapped


@dataclass(frozen=True, kw_only=True)
class EncodedPrompt:
    """A prompt's row, its token ids, and the tokens that stop the answer."""

    prompt: Mapping[str, Any]  # {"prompt": messages, ...} or {"prompt": text, "stop": text, ...}
    ids: list[int]
    stop_ids: tuple[int, ...] = ()


def encode_prompts(
    chat: Chat, prompts: Sequence[Mapping[str, Any]], room: int
) -> tuple[Sequence[EncodedPrompt], int]:
    """The prompts of at most ``room`` tokens, in order and encoded when accessed, and how many were longer.

    A prompt that is text is continued without a chat template, until the row's ``stop`` or a special token
    follows. Raises UserError where no prompt fits.
    """
    lengths = array("q", (len(_encoded(chat, prompt).ids) for prompt in prompts))
    fitting = array("q", (index for index, length in enumerate(lengths) if length <= room))
    if not fitting:
        raise UserError(
            f"none of {len(lengths)} prompts fits: the shortest has {min(lengths, default=0)} tokens and "
            f"{room} are left for a prompt beside the answer; shorten the prompts or lower max_tokens"
        )
    asked = Mapped(len(fitting), lambda index: _encoded(chat, prompts[fitting[index]]))
    return asked, len(lengths) - len(fitting)


def _encoded(chat: Chat, row: Mapping[str, Any]) -> EncodedPrompt:
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return EncodedPrompt(
            prompt=row, ids=chat.text_ids(prompt), stop_ids=chat.stops_at(str(row.get("stop", "")))
        )
    return EncodedPrompt(prompt=row, ids=chat.prompt_ids(prompt), stop_ids=chat.stop_ids)


def sample(
    engine: Engine, chat: Chat, asked: Sequence[EncodedPrompt], sampling: Sampling, seeds: Sequence[int]
) -> list[Episode]:
    """One answer to each entry of ``asked``, in that order, from its seed.

    For several answers repeat the prompt with several seeds; the engine computes it once. An answer stops at
    its prompt's stop tokens where ``sampling`` names none.
    """
    numbers = []
    for one, seed in zip(asked, seeds, strict=True):
        stops = sampling.stop_ids or one.stop_ids or chat.stop_ids
        numbers.append(engine.submit(one.ids, replace(sampling, stop_ids=stops), seed))
    completions = {completion.request: completion for completion in engine.finished()}
    episodes = []
    for one, number in zip(asked, numbers, strict=True):
        completion = completions[number]
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


def scored_groups(
    engine: Engine,
    chat: Chat,
    prompts: Sequence[Mapping[str, Any]],
    scorer: Scorer,
    sampling: Sampling,
    answers: int,
    seed: tuple[int, str],
) -> tuple[list[list[Episode]], list[list[float | None]]]:
    """``answers`` samples to each prompt that fits, and each one's reward, None where it could not be scored.

    ``seed`` is a number and what the samples are for.
    """
    asked, _ = encode_prompts(chat, prompts, engine.context - sampling.max_tokens)
    repeated = [one for one in asked for _ in range(answers)]
    episodes = sample(engine, chat, repeated, sampling, [derive(*seed, row) for row in range(len(repeated))])
    rewards = rewards_of(scorer, episodes)
    values = [
        value if scored else None
        for value, scored in zip(rewards.values.tolist(), rewards.scored.tolist(), strict=True)
    ]
    starts = range(0, len(episodes), answers)
    return [episodes[at : at + answers] for at in starts], [values[at : at + answers] for at in starts]
