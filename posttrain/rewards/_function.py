"""A plain function as a reward: its parameter names say what it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import torch

from posttrain.pipeline.blame import short
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards._blame import blamed, named
from posttrain.rewards.base import Episode, Rewards

ONE: dict[str, Callable[[Episode], Any]] = {
    "response": lambda episode: episode.response,
    "prompt": lambda episode: episode.prompt["prompt"],
    "row": lambda episode: dict(episode.prompt),
    "ended": lambda episode: episode.ended,
    "tokens": lambda episode: list(episode.ids[len(episode.ids) - sum(episode.mask) :]),
}
MANY = {
    "responses": "response",
    "prompts": "prompt",
    "rows": "row",
    "all_ended": "ended",
    "all_tokens": "tokens",
}
MEND = "Mend the function, or return None for what it cannot judge"
KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def of_function(function: Callable[..., Any]) -> FunctionReward:
    """The function as a reward source. Raises UserError where its parameters cannot be given by name."""
    return FunctionReward(function)


@dataclass(frozen=True)
class FunctionReward:
    """Pays what ``function`` returns: a number; None for an answer that it cannot judge, which is dropped.

    It is given by the names of its parameters: ``response`` (text), ``prompt`` (messages or text), ``row``
    (the prompt's whole row), ``ended`` (by itself), ``tokens`` (ids of the answer), or a column of the row. A
    parameter with a default keeps it where the row has no such column. A function of ``responses`` is asked
    once for all answers: ``prompts``, ``rows``, ``all_ended``, ``all_tokens`` and columns are lists then, and
    so is what it returns.
    """

    function: Callable[..., Any]
    """The function, as FILE.py:NAME."""

    def __post_init__(self) -> None:
        wrong = [p.name for p in self._parameters() if p.kind not in KINDS]
        if wrong or not self._parameters():
            raise UserError(
                f"{self.function.__name__}{inspect.signature(self.function)}: expected parameters by name, "
                "such as response, prompt, row or a column of your rows"
            )

    def _parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function).parameters.values())

    @property
    def batched(self) -> bool:
        """Whether the function is asked once for all answers."""
        return any(parameter.name in MANY for parameter in self._parameters())

    @property
    def columns(self) -> dict[str, bool]:
        """The columns that the function reads, and whether it needs them."""
        given = MANY if self.batched else ONE
        return {p.name: p.default is p.empty for p in self._parameters() if p.name not in given}

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """The columns that the function needs and a prompt's row has not."""
        missing = [name for name, needed in self.columns.items() if needed and name not in prompt]
        return f"{', '.join(missing)}, which {self.function.__name__}() asks for" if missing else ""

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[FunctionScorer]:
        """Needs nothing."""
        yield FunctionScorer(self)


@dataclass(frozen=True)
class FunctionScorer:
    """Asks the function."""

    source: FunctionReward

    @property
    def by_place(self) -> bool:
        """A function of all answers may compare them."""
        return self.source.batched

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: the function's name. Raises UserError where the function raises, or returns no number."""
        values = (
            self._of_all(episodes)
            if self.source.batched
            else [
                self._asked(partial(self._of_one, episode), partial(named, episodes, row))
                for row, episode in enumerate(episodes)
            ]
        )
        scored = torch.tensor([value is not None for value in values], dtype=torch.bool)
        numbers = torch.tensor([self._number(value, episodes, row) for row, value in enumerate(values)])
        return Rewards(values=numbers, scored=scored, parts={self.source.function.__name__: numbers})

    def _of_one(self, episode: Episode) -> Any:
        given = {name: ONE[name](episode) for name in self._names(ONE)}
        columns = {name: episode.prompt[name] for name in self.source.columns if name in episode.prompt}
        return self.source.function(**given, **columns)

    def _of_all(self, episodes: Sequence[Episode]) -> list[Any]:
        given = {name: [ONE[MANY[name]](e) for e in episodes] for name in self._names(MANY)}
        for name in self.source.columns:
            if all(name in episode.prompt for episode in episodes):
                given[name] = [episode.prompt[name] for episode in episodes]
        call = partial(self.source.function, **given)
        values = self._asked(lambda: list(call()), lambda: f"{len(episodes)} answers at once")
        if len(values) != len(episodes):
            raise UserError(
                f"reward {self.source.function.__name__} returned {len(values)} values for "
                f"{len(episodes)} answers"
            )
        return list(values)

    def _names(self, given: Mapping[str, Any]) -> list[str]:
        return [name for name in inspect.signature(self.source.function).parameters if name in given]

    def _asked(self, call: Callable[[], Any], where: Callable[[], str]) -> Any:
        function = self.source.function
        with blamed(function, function.__name__, "its call", lambda: f"on {where()}", MEND):
            return call()

    def _number(self, value: Any, episodes: Sequence[Episode], row: int) -> float:
        if value is None:
            return 0.0
        if not isinstance(value, Real):
            raise UserError(
                f"reward {self.source.function.__name__} returned {short(repr(value))} for "
                f"{named(episodes, row)}; expected a number, or None for an answer that it cannot judge"
            )
        return float(value)
