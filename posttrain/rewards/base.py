"""What a reward source is given, and what it must give back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards._blame import asked, blamed, first_that_raises, named


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
    seed: int = 0  # of the answer


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
    """What a prompt's row is without, where that keeps ``source`` from scoring any answer to it; else
    empty. Raises UserError where a user's own ``lacks`` raises.
    """
    lacks = getattr(source, "lacks", None)
    if lacks is None:
        return ""
    with blamed(source, type(source).__name__, "lacks()", lambda: f"on {asked(prompt)}"):
        return str(lacks(prompt))


@contextmanager
def opened(source: RewardSource, inputs: Inputs, machine: Machine) -> Iterator[Scorer]:
    """What ``source.open`` yields, closed afterwards. Raises UserError where a user's own ``open`` raises."""
    with ExitStack() as stack:
        with blamed(source, type(source).__name__, "open()", lambda: "before the first answer"):
            scorer = stack.enter_context(source.open(inputs, machine))
        yield scorer


def rewards_of(scorer: Scorer, episodes: Sequence[Episode], name: str = "") -> Rewards:
    """What ``scorer`` gives for the episodes, ``checked``; ``name`` is that of a part of several. Raises
    UserError where a user's own scorer raises, with its line and the answer it did so on.
    """
    title = f"{name} ({type(scorer).__name__})" if name else type(scorer).__name__
    with blamed(scorer, title, "score()", lambda: first_that_raises(scorer.score, episodes)):
        rewards = scorer.score(episodes)
    return checked(rewards, episodes, title)


def checked(rewards: Rewards, episodes: Sequence[Episode], name: str = "") -> Rewards:
    """The same rewards. Raises UserError naming the reward for what is no tensor of numbers, a wrong number
    of them, a scored one that is not finite, or one whose verifier failed.
    """
    whose, count = f"reward {name}".strip(), len(episodes)
    if not isinstance(rewards, Rewards):
        raise UserError(
            f"{whose}: score() gave {_form(rewards)}, expected Rewards for {count} answers; "
            "all_scored(values, NAME) makes them of a tensor"
        )
    for part, values in {"": rewards.values, "scored": rewards.scored, **rewards.parts}.items():
        of = f"{whose}, {part}" if part else whose
        truths = part == "scored"
        good = isinstance(values, Tensor) and (values.dtype == torch.bool) == truths
        if not good or values.shape != (count,):
            raise UserError(
                f"{of}: got {_form(values)}, expected a tensor [{count}] of "
                f"{'true or false' if truths else 'numbers'}, one an answer"
            )
    if paid := [row for row in rewards.failed if rewards.scored[row]]:
        raise UserError(
            f"{whose}: {named(episodes, paid[0])}, is scored, but its verifier failed: "
            f"{rewards.failed[paid[0]]}"
        )
    bad = (rewards.scored & ~rewards.values.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise UserError(
            f"{whose}: {len(bad)} of {count} rewards are not finite numbers; the first, "
            f"{float(rewards.values[bad[0]])}, is of {named(episodes, bad[0])}. Mend the reward, or "
            "mark such rows as not scored"
        )
    return rewards


def _form(value: Any) -> str:
    """What a value is and how many of them."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


def solved(scorer: Scorer, episodes: Sequence[Episode]) -> list[float]:
    """[n] 1 for an answer that is paid 1 or more, else 0: what evaluation counts.

    Raises UserError where a verifier failed, since nobody then knows what was solved.
    """
    rewards = rewards_of(scorer, episodes)
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
