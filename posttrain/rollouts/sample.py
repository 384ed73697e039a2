"""Prompts in, answered episodes out."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from posttrain.core.seeds import derive
from posttrain.engines.base import Engine, Sampling
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.heartbeat import Note
from posttrain.rewards.base import Episode, Scorer, rewards_of
from posttrain.storage.chunks import NOT_KEPT, Chunks, in_chunks, ranges
from posttrain.storage.lazy import Mapped

ANSWERS = 512  # in a chunk; a reward model scores a chunk as one batch, so another number gives other bits
Answer = dict[str, Any]


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
    engine: Engine,
    chat: Chat,
    asked: Sequence[EncodedPrompt],
    sampling: Sampling,
    seeds: Sequence[int],
    *,
    count: Callable[[], None] = lambda: None,
) -> list[Episode]:
    """One answer to each entry of ``asked``, in that order, from its seed. ``count`` is called whenever an
    answer is finished.

    For several answers repeat the prompt with several seeds; the engine computes it once. An answer stops at
    its prompt's stop tokens where ``sampling`` names none.
    """
    numbers = []
    for one, seed in zip(asked, seeds, strict=True):
        stops = sampling.stop_ids or one.stop_ids or chat.stop_ids
        numbers.append(engine.submit(one.ids, replace(sampling, stop_ids=stops), seed))
    completions = {}
    for completion in engine.finished():
        completions[completion.request] = completion
        count()
    episodes = []
    for one, number, seed in zip(asked, numbers, seeds, strict=True):
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
                seed=seed,
            )
        )
    return episodes


def sample_in_chunks(
    engine: Engine,
    chat: Chat,
    asked: Sequence[EncodedPrompt],
    sampling: Sampling,
    seeds: Callable[[int], int],
    each: int = 1,
    *,
    chunks: Chunks = NOT_KEPT,
    note: Note | None = None,
) -> list[Episode]:
    """``each`` answers to every entry of ``asked``, those to one prompt one after another, from the seed of
    their number. ``note`` is given how many answers there are.
    """
    tally = Tally(len(asked), each, chunks.name, note)

    def chunk(piece: range) -> list[Answer]:
        return [_answer(one) for one in _sampled(engine, chat, asked, sampling, seeds, piece, tally)]

    made = in_chunks(chunks, _prompts(len(asked), each), chunk)
    answers = [answer for some in made for answer in some]
    return [_episode(asked[number // each], answer) for number, answer in enumerate(answers)]


def scored_groups(
    engine: Engine,
    chat: Chat,
    prompts: Sequence[Mapping[str, Any]],
    scorer: Scorer,
    sampling: Sampling,
    answers: int,
    seed: tuple[int, str],
    *,
    chunks: Chunks = NOT_KEPT,
    note: Note | None = None,
) -> tuple[list[list[Episode]], list[list[float | None]]]:
    """``answers`` samples to each prompt that fits, and each one's reward, None where it could not be scored.

    ``seed`` is a number and what the samples are for. Answers are scored in chunks of ``ANSWERS``. ``note``
    is given how many answers there are.
    """
    asked, _ = encode_prompts(chat, prompts, engine.context - sampling.max_tokens)
    tally = Tally(len(asked), answers, chunks.name, note)

    def chunk(piece: range) -> list[list[Any]]:
        seeds = partial(derive, *seed)
        episodes = _sampled(engine, chat, asked, sampling, seeds, piece, tally)
        rewards = rewards_of(scorer, episodes)
        scored = zip(episodes, rewards.values.tolist(), rewards.scored.tolist(), strict=True)
        return [[_answer(episode), value if is_scored else None] for episode, value, is_scored in scored]

    made = in_chunks(chunks, _prompts(len(asked), answers), chunk)
    pairs = [pair for some in made for pair in some]
    episodes = [_episode(asked[number // answers], answer) for number, (answer, _) in enumerate(pairs)]
    values: list[float | None] = [value for _, value in pairs]
    starts = range(0, len(episodes), answers)
    return [episodes[at : at + answers] for at in starts], [values[at : at + answers] for at in starts]


class Tally:
    """How many answers there are so far, ``each`` of them to a prompt. As a text for ``note``:
    ``final: 120 of 600 answers``.
    """

    def __init__(self, prompts: int, each: int, name: str, note: Note | None) -> None:
        self.done, self.each, self._total, self._name = 0, each, prompts * each, name
        if note is not None:
            note(self.text)

    def count(self) -> None:
        self.done += 1

    def text(self) -> str:
        return f"{self._name}: {self.done} of {self._total} answers"


def _prompts(count: int, each: int) -> list[range]:
    """Those of each chunk, where there are ``each`` answers to a prompt."""
    return ranges(count, -(-ANSWERS // each))


def _sampled(
    engine: Engine,
    chat: Chat,
    asked: Sequence[EncodedPrompt],
    sampling: Sampling,
    seeds: Callable[[int], int],
    piece: range,
    tally: Tally,
) -> list[Episode]:
    each = tally.each
    repeated = [asked[number] for number in piece for _ in range(each)]
    numbers = range(piece.start * each, piece.stop * each)
    tally.done = numbers.start  # those before may be of an earlier run
    return sample(engine, chat, repeated, sampling, [seeds(number) for number in numbers], count=tally.count)


def _answer(episode: Episode) -> Answer:
    """What is not known of an episode from its prompt."""
    spoken = sum(episode.mask)
    return {
        "response": episode.response,
        "tokens": list(episode.ids[len(episode.ids) - spoken :]),
        "logprobs": list(episode.logprobs),
        "ended": episode.ended,
        "version": episode.version,
        "seed": episode.seed,
    }


def _episode(asked: EncodedPrompt, answer: Answer) -> Episode:
    return Episode(
        prompt=asked.prompt,
        response=answer["response"],
        ids=[*asked.ids, *answer["tokens"]],
        mask=[False] * len(asked.ids) + [True] * len(answer["tokens"]),
        logprobs=answer["logprobs"],
        ended=answer["ended"],
        version=answer["version"],
        seed=answer["seed"],
    )
