"""Several rewards, each for the prompts that it can score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards, Scorer, lacking, opened, pays_by_place, rewards_of
from posttrain.rewards.weighted_sum import Weighted


@dataclass(frozen=True, kw_only=True)
class FirstThatScores:
    """Each answer is paid ``weight`` times the reward of the first of ``parts`` that can score it: a verifier
    where a prompt has an answer, a reward model for the others (DeepSeek-AI 2025, section 2.3.4).
    """

    parts: tuple[Weighted, ...]
    """The reward sources in the order in which they are asked; the first that can score an answer pays it."""

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """The columns that a prompt's row needs before any part can score it; empty where one can."""
        missing = [lacking(part.reward, prompt) for part in self.parts]
        return " or ".join(missing) if all(missing) else ""

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) < len(names):
            raise UserError(f"rewards {names}: expected at least one, each with a name of its own")

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[FirstScorer]:
        """Opens every part and closes all of them, whatever happens."""
        with ExitStack() as stack:
            live = [stack.enter_context(opened(part.reward, inputs, machine)) for part in self.parts]
            named = zip(self.parts, live, strict=True)
            yield FirstScorer([(part.name, scorer, part.weight) for part, scorer in named])


@dataclass(frozen=True)
class FirstScorer:
    """Scorers in memory with their names and weights, in the order in which they are asked."""

    scorers: Sequence[tuple[str, Scorer, float]]

    @property
    def by_place(self) -> bool:
        """As one of its scorers is."""
        return any(pays_by_place(scorer) for _, scorer, _ in self.scorers)

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: each reward before its weight under its name, 0 where another one scored; and NAME/share, 1
        where it scored.
        """
        values = torch.zeros(len(episodes))
        scored = torch.zeros(len(episodes), dtype=torch.bool)
        parts: dict[str, torch.Tensor] = {}
        failed: dict[int, str] = {}
        for name, scorer, weight in self.scorers:
            given = rewards_of(scorer, episodes, name)
            newly_scored = given.scored & ~scored
            newly_scored[list(failed)] = False  # the next part does not score these either
            failed |= {row: why for row, why in given.failed.items() if not scored[row]}
            worth = torch.where(newly_scored, given.values, 0.0)
            values, scored = values + weight * worth, scored | newly_scored
            parts |= {name: worth, f"{name}/share": newly_scored.float()}
        return Rewards(values=values, scored=scored, parts=parts, failed=failed)
