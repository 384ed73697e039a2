"""A final answer that equals the known one: the verifiable reward of mathematics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards._final_answer import boxed, final
from posttrain.rewards.base import Episode, Rewards
from posttrain.sandbox.tiers import SandboxError
from posttrain.sandbox.worker import LATE, Worker, WorkerOutcome

SAME = "posttrain.rewards._equivalence:same"
LONG = 400  # characters: a known answer that long is a solution that ends with it


@dataclass(frozen=True, kw_only=True)
class MathAnswer:
    """1 where the final answer equals the prompt's ``answer``, else 0; 0 for an answer that a limit cut.

    Equality is that of math-verify (Kydlíček et al. 2025), in a process that is killed after ``seconds`` of
    processor time; no text is evaluated as code. The final answer is what stands in the last ``\\boxed{}``,
    or in several that are joined by commas or "and"; in the last ``<answer>``, after ``####``, after "answer
    is" or "answer:"; else what the last sentence says, its last formula or number. Prompts without ``answer``
    are not scored. Needs the extra ``verify``.
    """

    seconds: float = 1.5
    """Processor time for comparing one answer; an answer that takes longer earns 0."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 60:
            raise UserError(f"seconds is {self.seconds}, expected above 0 and at most 60")

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return "" if prompt.get("answer") is not None else "answer"

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[MathScorer]:
        """Starts the worker. Raises UserError where math-verify is not installed."""
        try:
            worker = Worker(SAME, seconds=self.seconds)
        except SandboxError as problem:
            if "math_verify" in str(problem) or "sympy" in str(problem):
                raise UserError("math_answer needs math-verify; `pip install 'posttrain[verify]'`") from None
            raise UserError(f"math_answer: {problem}") from None
        with worker:
            yield MathScorer(worker)


@dataclass(frozen=True)
class MathScorer:
    """A worker that compares answers."""

    worker: Worker

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``math_answer``; ``math_answer/found``, 1 where there was a final answer to compare; and
        ``math_answer/late``, 1 where the comparison was given up, which earns 0.

        Equal answers are compared once. A row is not scored where the worker failed.
        """
        compared: dict[tuple[str, str], WorkerOutcome] = {}
        failed: dict[int, str] = {}
        paid, has_answer, late = (torch.zeros(len(episodes)) for _ in range(3))
        scored = torch.zeros(len(episodes), dtype=torch.bool)
        for row, episode in enumerate(episodes):
            gold = episode.prompt.get("answer")
            if gold is None:
                continue
            wanted = gold_of(str(gold))
            answer = final(episode.response, wanted) if episode.ended else ""
            has_answer[row] = float(bool(answer))
            try:
                if answer and (wanted, answer) not in compared:
                    compared[wanted, answer] = self.worker(wanted, answer)
            except SandboxError as problem:
                failed[row] = str(problem)
                continue
            outcome = compared[wanted, answer] if answer else WorkerOutcome(value=False)
            scored[row] = True
            paid[row] = float(outcome.value is True)
            late[row] = float(outcome.failed.startswith(LATE))
        parts = {"math_answer": paid, "math_answer/found": has_answer, "math_answer/late": late}
        return Rewards(values=paid, scored=scored, parts=parts, failed=failed)


def gold_of(text: str) -> str:
    """A gold answer without the worked solution that some data sets write around it."""
    if (inside := boxed(text)) is not None:
        return inside
    return text.rpartition("####")[2].strip() if len(text) <= LONG else final(text, "1")
