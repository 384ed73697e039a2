"""What reasoning-gym's own scorer gives for an answer to one of its tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards
from posttrain.sandbox.tiers import SandboxError
from posttrain.sandbox.worker import LATE, Worker

SCORE = "posttrain.data.gym_tasks:score"


@dataclass(frozen=True, kw_only=True)
class ReasoningGym:
    """The task's score from 0 to 1 of what stands in the last ``<answer>``, or of all of an answer without
    one; 0 for an answer that a limit cut.

    The scorer works in a process that is killed after ``seconds`` of processor time, in which generating the
    task again does not count; an answer that it would run as code earns 0. Prompts that are no tasks of
    reasoning-gym are not scored. Needs the extra ``reasoning-gym``.
    """

    seconds: float = 1.5
    """Processor time for scoring one answer; an answer that takes longer earns 0."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 60:
            raise UserError(f"seconds is {self.seconds}, expected above 0 and at most 60")

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return "" if prompt.get("gym") else "gym"

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[GymScorer]:
        """Starts the worker. Raises UserError where reasoning-gym is not installed."""
        try:
            worker = Worker(SCORE, seconds=self.seconds, setup="again")
        except SandboxError as problem:
            if "No module named" in str(problem):
                raise UserError(
                    f"the reward reasoning_gym: {problem}; `pip install 'posttrain[reasoning-gym]'`"
                ) from None
            raise UserError(f"the reward reasoning_gym: {problem}") from None
        with worker:
            yield GymScorer(worker)


@dataclass(frozen=True)
class GymScorer:
    """A worker that generates a task again and scores an answer to it."""

    worker: Worker

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``reasoning_gym``, the score; ``reasoning_gym/solved``, 1 for a whole one; and
        ``reasoning_gym/late``, 1 where it was given up, which earns 0.

        A row is not scored where the worker failed, or another version of reasoning-gym made its prompt.
        """
        paid, late = torch.zeros(len(episodes)), torch.zeros(len(episodes))
        scored = torch.zeros(len(episodes), dtype=torch.bool)
        failed: dict[int, str] = {}
        for row, episode in enumerate(episodes):
            if not (task := episode.prompt.get("gym")):
                continue
            scored[row] = True
            if not episode.ended:
                continue
            given = (task["task"], task["seed"], task["index"], task["question"], final(episode.response))
            try:
                outcome = self.worker(*given)
            except SandboxError as problem:
                scored[row], failed[row] = False, str(problem)
                continue
            if "another question" in outcome.failed:
                scored[row], failed[row] = False, outcome.failed
            late[row] = float(outcome.failed.startswith(LATE))
            paid[row] = float(outcome.value or 0.0)
        parts = {
            "reasoning_gym": paid,
            "reasoning_gym/solved": (paid >= 1).float(),
            "reasoning_gym/late": late,
        }
        return Rewards(values=paid, scored=scored, parts=parts, failed=failed)


def final(text: str) -> str:
    """What stands in the last ``<answer>``, or all of a text without one."""
    if "</answer>" not in text:
        return text.strip()
    return text.rpartition("</answer>")[0].rpartition("<answer>")[2].strip()
