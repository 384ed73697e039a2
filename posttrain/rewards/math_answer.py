"""A final answer that equals the known one: the verifiable reward of mathematics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.protocol import Episode, Rewards
from posttrain.sandbox.tiers import SandboxError
from posttrain.sandbox.worker import Worker

SAME = "posttrain.rewards._equivalence:same"
SHORT = 60  # characters; an answer that short, on one line, is all final
NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?%?")
_SAYS = re.compile(r"\banswer(?:\s+is|\s*[:=])\s*:?\s*", re.IGNORECASE)
_END = re.compile(r"\n|[.!?](?=\s|$)")


@dataclass(frozen=True, kw_only=True)
class MathAnswer:
    """1 where the final answer equals the prompt's ``answer``, else 0; 0 for an answer that a limit cut.

    Equality is that of math-verify (Kydlíček et al. 2025), in a process that is killed after ``seconds``; no
    text is evaluated as code. The final answer is what stands in the last ``\\boxed{}``, in the last
    ``<answer>``, after ``####``, after "answer is" or "answer:", or all of a short line; where the known
    answer is a number, else the last number. Prompts without ``answer`` are not scored. Needs the extra
    ``verify``.
    """

    seconds: float = 1.5

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 60:
            raise UserError(f"seconds is {self.seconds}, expected above 0 and at most 60")

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
        """Parts: ``math_answer``, and ``math_answer/found``, 1 where there was a final answer to compare, and
        ``math_answer/late``, 1 where the comparison was given up.
        """
        values, found, late, scored = [], [], [], []
        for episode in episodes:
            gold = episode.prompt.get("answer")
            scored.append(gold is not None)
            wanted = gold_of(str(gold)) if gold is not None else ""
            said = final(episode.response, wanted) if gold is not None and episode.ended else ""
            found.append(float(bool(said)))
            outcome = self.worker(wanted, said) if said else None
            values.append(float(outcome is not None and outcome.value is True))
            late.append(float(outcome is not None and outcome.failed.startswith("not done")))
        paid = torch.tensor(values)
        parts = {
            "math_answer": paid,
            "math_answer/found": torch.tensor(found),
            "math_answer/late": torch.tensor(late),
        }
        return Rewards(values=paid, scored=torch.tensor(scored, dtype=torch.bool), parts=parts)


def gold_of(text: str) -> str:
    """A known answer without the solution around it, where a data set writes one."""
    return boxed(text) or text.rpartition("####")[2].strip()


def final(text: str, gold: str = "") -> str:
    """What an answer says last, empty where it says nothing; see MathAnswer."""
    if (said := boxed(text)) is not None:
        return said.strip()
    if "</answer>" in text:
        inside = text.rpartition("</answer>")[0].rpartition("<answer>")[2].strip()
        return (boxed(inside) or inside).strip()
    if "####" in text:
        return text.rpartition("####")[2].strip().partition("\n")[0].strip()
    if says := list(_SAYS.finditer(text)):
        rest = text[says[-1].end() :].strip()
        end = _END.search(rest)
        return (rest[: end.start()] if end else rest).strip(" *")
    line = text.strip()
    if "\n" not in line and len(line) <= SHORT:
        return line.lstrip("= ").rstrip(". ")
    numbers = NUMBER.findall(text) if NUMBER.fullmatch(gold) else []
    return numbers[-1].rstrip(",") if numbers else ""


def boxed(text: str) -> str | None:
    """What stands in the last ``\\boxed{}``, None where there is none or it is never closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for place in range(start + len("\\boxed"), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : place]
    return None
