"""Code that passes a prompt's tests, run where it can do no harm."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.base import Episode, Rewards
from posttrain.sandbox.examination import BrokenTests, Verdict, examine, run_program, strongest
from posttrain.sandbox.sandboxed import Limits
from posttrain.sandbox.tiers import SandboxError, Tier

_FENCE = re.compile(r"^```([\w+-]*)[^\n]*\n", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class CodeTests:
    """1 where the answer's Python passes all of the prompt's tests, else 0; with ``partial`` the share of
    them. 0 for an answer that a limit cut.

    A prompt has ``tests``, Python text (asserts, ``test`` functions, unittest cases, or ``check(candidate)``
    with ``entry_point``), or ``cases``, [{"input", "output"}] of a program; one without either is not scored.
    The code is the answer's last fenced block of Python, or all of it; where a prompt has ``code_before``, a
    signature for instance, behind that. It runs in the sandbox: without
    network, without writing or starting anything, within ``seconds`` and ``memory_mb``. Where no tier of it
    works, bubblewrap or Landlock, the reward is refused, unless ``unsafe_local_exec``.
    """

    seconds: float = 5.0
    """Processor time that the program has for all tests of an answer."""
    memory_mb: int = 512
    """Memory of the program, in MB."""
    partial: bool = False
    """Pays the share of tests that pass; otherwise 1 only where all pass."""
    unsafe_local_exec: bool = False
    """Runs the code without a sandbox where none works here; it may then do anything that you may."""

    def lacks(self, prompt: Mapping[str, Any]) -> str:
        """What a prompt's row is without, where that keeps it from being scored."""
        return "" if prompt.get("tests") or prompt.get("cases") else "tests or cases"

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 600 or not 64 <= self.memory_mb <= 65536:
            raise UserError(
                f"seconds={self.seconds}, memory_mb={self.memory_mb}: expected up to 600 s and at least 64 MB"
            )

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[CodeScorer]:
        """Finds the strongest tier that works. Raises UserError where none does."""
        try:
            tier = strongest(unsafe=self.unsafe_local_exec)
        except SandboxError as problem:
            raise UserError(
                f"code_tests runs what a model wrote, and no sandbox works here ({problem}). Install "
                "bubblewrap (`apt-get install bubblewrap`), or say unsafe_local_exec=yes to run it with "
                "limits alone"
            ) from None
        limits = Limits(seconds=self.seconds, memory=self.memory_mb << 20)
        with ThreadPoolExecutor(machine.threads or os.cpu_count()) as pool:
            yield CodeScorer(tier, limits, self.partial, pool)


@dataclass(frozen=True)
class CodeScorer:
    """A tier of the sandbox, and who waits for it."""

    tier: Tier
    limits: Limits
    partial: bool
    pool: ThreadPoolExecutor

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        """Parts: ``code_tests``, 1 where all passed; ``code_tests/passed``, the share of tests; and
        ``code_tests/tier/NAME``, 1, the tier that ran it.

        A row is not scored where its tests are at fault, or where the sandbox failed twice.
        """
        verdicts = list(self.pool.map(self._judged, episodes))
        solved = torch.tensor([float(isinstance(v, Verdict) and v.solved) for v in verdicts])
        passed = torch.tensor([v.passed / v.ran if isinstance(v, Verdict) else 0.0 for v in verdicts])
        parts = {
            "code_tests": solved,
            "code_tests/passed": passed,
            f"code_tests/tier/{self.tier.name}": torch.ones(len(episodes)),
        }
        scored = torch.tensor([isinstance(v, Verdict) for v in verdicts], dtype=torch.bool)
        failed = {row: str(v) for row, v in enumerate(verdicts) if isinstance(v, SandboxError)}
        return Rewards(values=passed if self.partial else solved, scored=scored, parts=parts, failed=failed)

    def _judged(self, episode: Episode) -> Verdict | SandboxError | None:
        """None: there is nothing to judge by."""
        prompt = episode.prompt
        if not prompt.get("tests") and not prompt.get("cases"):
            return None
        if not episode.ended:
            return Verdict(tier=self.tier.name, ran=1, passed=0, why="cut by a limit")
        failure = SandboxError()
        for _ in range(2):
            try:
                return self._verdict(code_of(episode.response), prompt)
            except BrokenTests:
                return None
            except SandboxError as problem:
                failure = problem
        return failure

    def _verdict(self, code: str, prompt: Mapping[str, Any]) -> Verdict:
        if prompt.get("tests"):
            return examine(
                code,
                str(prompt["tests"]),
                tier=self.tier,
                entry_point=prompt.get("entry_point"),
                before=str(prompt.get("code_before") or ""),
                limits=self.limits,
            )
        runs = []
        for case in prompt["cases"]:
            given, wanted = str(case["input"]), str(case["output"])
            runs.append(run_program(code, given, wanted, tier=self.tier, limits=self.limits))
            if not runs[-1].solved and not self.partial:
                break
        why = next((run.why for run in runs if run.why), "")
        passed = sum(run.passed for run in runs)
        return Verdict(tier=self.tier.name, ran=len(runs), passed=passed, why=why)


def code_of(text: str) -> str:
    """The last fenced block of Python in an answer, even if it is not closed; without one, the whole text."""
    code = ""
    position = 0
    while fence := _FENCE.search(text, position):
        end = text.find("\n```", fence.end() - 1)
        inside = text[fence.end() : end + 1 if end >= 0 else len(text)]
        if fence[1].lower() in ("", "py", "python", "python3"):
            code = inside
        position = end + 4 if end >= 0 else len(text)
    return code or text
