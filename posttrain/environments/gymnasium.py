"""Any Gymnasium environment with discrete actions. Needs the extra ``gymnasium``."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posttrain.environments.base import StepResult
from posttrain.environments.undrawn import undrawn
from posttrain.pipeline.finding import UserError


@dataclass(frozen=True)
class Spaces:
    """What an environment takes and gives."""

    observations: int  # numbers in a row
    states: int  # of a Discrete observation; 0: a Box
    actions: int
    first: tuple[int, int]  # of observations and actions, where they are Discrete
    limit: int  # 0: none


@dataclass(frozen=True, kw_only=True)
class Gymnasium:
    """The environment registered as ``id``, cut after ``steps`` (0: after what it is registered with).

    Observations are numbers in a row: a Box laid flat, a Discrete one-hot. Raises UserError where gymnasium
    is not installed, nothing has that id, or its spaces are of other kinds.
    """

    id: str
    """The environment's name in Gymnasium's registry, such as ``LunarLander-v3``."""
    steps: int = 0
    """Steps after which an episode is cut; 0 takes the limit that the environment is registered with."""

    decision = 1

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise UserError(f"steps is {self.steps}, expected how many to cut play after, or 0")

    @property
    def observations(self) -> int:
        """The numbers of one observation."""
        return _spaces(self.id).observations

    @property
    def actions(self) -> int:
        """How many there are."""
        return _spaces(self.id).actions

    @property
    def one_hot(self) -> bool:
        """Whether observations are, so that there is nothing to normalise."""
        return _spaces(self.id).states > 0

    @property
    def limit(self) -> int:
        """Raises UserError where neither the settings nor the registration has one."""
        limit = self.steps or _spaces(self.id).limit
        if limit < 1:
            raise UserError(
                f"{self.id} has no limit of its own: say after how many steps to cut it, such as limit=1000 "
                "of the recipe `environment`"
            )
        return limit

    def open(self, seeds: Sequence[int]) -> Games:
        """A copy for each seed; one that was played before is begun anew, as gymnasium's ``reset`` promises.

        Making a Taxi takes as long as hundreds of its steps, and its plays last 14.
        """
        idle = _idle(self.id)
        games = [idle.pop() if idle else _made(self.id) for _ in seeds]
        opened = Games(games, seeds, _spaces(self.id))
        weakref.finalize(opened, idle.extend, games).atexit = False  # they are free once nobody plays them
        return opened


class Games:
    """Gymnasium environments, one after another; there is one process."""

    def __init__(self, games: Sequence[Any], seeds: Sequence[int], spaces: Spaces) -> None:
        self._games, self._spaces = games, spaces
        self._one_hot = np.eye(spaces.states, dtype=np.float32)
        self._over = [False] * len(games)
        begun = [game.reset(seed=seed % 2**31)[0] for game, seed in zip(games, seeds, strict=True)]
        self._observations = [self._flat(one) for one in begun]
        self.observation = torch.from_numpy(np.stack(self._observations))

    def step(self, actions: Tensor) -> StepResult:
        """Steps every copy that has not ended."""
        count, first = len(self._games), self._spaces.first[1]
        rewards, terminated, truncated = (
            np.zeros(count, np.float32),
            np.zeros(count, bool),
            np.zeros(count, bool),
        )
        for row, action in enumerate(actions.tolist()):
            if not self._over[row]:
                observation, rewards[row], terminated[row], stopped, _ = self._games[row].step(action + first)
                truncated[row] = stopped and not terminated[row]
                self._observations[row] = self._flat(observation)
                self._over[row] = bool(terminated[row] or stopped)
        seen_now = torch.from_numpy(np.stack(self._observations))
        return StepResult(
            seen_now, torch.from_numpy(rewards), torch.from_numpy(terminated), torch.from_numpy(truncated)
        )

    def _flat(self, observation: Any) -> np.ndarray:
        if self._spaces.states:
            return self._one_hot[int(observation) - self._spaces.first[0]]
        return np.asarray(observation, dtype=np.float32).reshape(-1)


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ImportError:
        raise UserError("this environment needs gymnasium: pip install 'posttrain[gymnasium]'") from None
    return gymnasium


def _made(name: str) -> Any:
    """Without Gymnasium's own limit: play has one."""
    gymnasium = _gymnasium()
    try:
        with undrawn():
            return gymnasium.make(name, max_episode_steps=-1)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = "box2d" if "box2d" in str(error).lower() else "gymnasium"
        raise UserError(
            f"{name} needs more than gymnasium: pip install 'posttrain[{extra}]' ({error})"
        ) from None
    except gymnasium.error.Error as error:
        raise UserError(f"{name}: {error}") from None


@lru_cache(maxsize=8)
def _idle(name: str) -> list[Any]:
    """Environments of that id that nobody plays."""
    return []


@lru_cache(maxsize=8)
def _spaces(name: str) -> Spaces:
    made = _made(name)
    observations, actions = made.observation_space, made.action_space
    kinds = type(actions).__name__, type(observations).__name__
    if kinds[0] != "Discrete" or kinds[1] not in ("Box", "Discrete"):
        raise UserError(
            f"{name} has actions of kind {kinds[0]} and observations of kind {kinds[1]}; expected Discrete "
            "actions and Box or Discrete observations"
        )
    states = int(getattr(observations, "n", 0))
    return Spaces(
        observations=states or int(np.prod(observations.shape)),
        states=states,
        actions=int(actions.n),
        first=(int(getattr(observations, "start", 0)), int(actions.start)),
        limit=_gymnasium().spec(name).max_episode_steps or 0,
    )
