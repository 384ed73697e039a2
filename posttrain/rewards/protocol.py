"""What a reward source is given, and what it must give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A prompt and its answer, as they happened: the ids are the sampled ones, never re-tokenised text."""

    prompt: Mapping[str, Any]  # the prompt's row: {"prompt": messages, ...}
    response: str
    ids: list[int]  # prompt and answer [L]
    mask: list[bool]  # the policy said it [L]
    logprobs: list[float]  # of the sampler, one for each True in mask
    ended: bool  # by itself; otherwise a limit cut it
    version: int  # of the weights that sampled it


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """One number an episode, [n]. Entries that are not ``scored`` carry no meaning and are never paid.

    ``failed`` says of a row what became of its verifier: a fault of the machine, neither scored nor held
    against the answer.
    """

    values: Tensor  # [n] float32
    scored: Tensor  # [n] bool
    parts: dict[str, Tensor] = field(default_factory=dict)  # [n] each: what reports show of it
    failed: Mapping[int, str] = field(default_factory=dict)


class Scorer(Protocol):
    """One whose reward of an answer depends on its place among the others, or on them, has ``by_place =
    True``; of any other the same answer is expected to earn the same in any company.
    """

    def score(self, episodes: Sequence[Episode]) -> Rewards: ...


class RewardSource(Protocol):
    """A value in a recipe; what is live is made by ``open`` from the products of the stages it names.

    One that reads more of a prompt than what was said has ``lacks(prompt)``, see ``lacking``.
    """

    def open(self, inputs: Inputs, machine: Machine) -> AbstractContextManager[Scorer]: ...


def pays_by_place(scorer: Scorer) -> bool:
    """Whether what an answer earns may differ with the others of its batch."""
    return bool(getattr(scorer, "by_place", False))


def lacking(source: RewardSource, prompt: Mapping[str, Any]) -> str:
    """The columns that a prompt's row lacks, without which ``source`` can score no answer to
    it; else empty.
    """
    asked = getattr(source, "lacks", None)
    return str(asked(prompt)) if asked is not None else ""


def checked(rewards: Rewards, episodes: Sequence[Episode]) -> Rewards:
    """The same rewards. Raises UserError for values that are no tensor of numbers or of the wrong length, and
    for a scored row that is not finite or whose verifier failed.
    """
    for name, values in {"reward": rewards.values, "scored": rewards.scored, **rewards.parts}.items():
        if not isinstance(values, Tensor) or (name == "reward" and values.dtype == torch.bool):
            kind = f"a tensor of {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
            raise UserError(
                f"{name}: got {kind}, expected a tensor [{len(episodes)}] of numbers, one an answer"
            )
        if values.shape != (len(episodes),):
            raise UserError(
                f"{name}: got shape {tuple(values.shape)}, expected ({len(episodes)},), one an answer"
            )
    if paid := [row for row in rewards.failed if rewards.scored[row]]:
        raise UserError(f"answer {paid[0]} is scored, but its verifier failed: {rewards.failed[paid[0]]}")
    bad = (rewards.scored & ~rewards.values.isfinite()).nonzero().flatten().tolist()
    if bad:
        first = episodes[bad[0]]
        raise UserError(
            f"{len(bad)} of {len(episodes)} rewards are not finite numbers; the first, "
            f"{float(rewards.values[bad[0]])}, is of prompt {first.prompt.get('id', bad[0])!r}, answer "
            f"{first.response[:80]!r}. Mend the reward, or mark such rows as not scored."
        )
    return rewards


def solved(scorer: Scorer, episodes: Sequence[Episode]) -> list[float]:
    """[n] 1 for an answer that is paid 1 or more, else 0: what evaluation counts.

    Raises UserError where a verifier failed, since nobody then knows what was solved.
    """
    rewards = checked(scorer.score(episodes), episodes)
    if rewards.failed:
        first = next(iter(rewards.failed.values()))
        raise UserError(
            f"the verifier failed on {len(rewards.failed)} of {len(episodes)} answers, so what is solved "
            f"cannot be counted ({first}). Run again, with less beside it on this machine."
        )
    paid = torch.where(rewards.scored, rewards.values, 0.0)
    return [float(value >= 1) for value in paid.tolist()]


def all_scored(values: Tensor, name: str) -> Rewards:
    """Rewards [n] of a source that can score everything, shown under its name."""
    values = values.detach().float().cpu()
    return Rewards(values=values, scored=torch.ones(len(values), dtype=torch.bool), parts={name: values})
