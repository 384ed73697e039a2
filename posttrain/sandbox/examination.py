"""An answer's code against tests, from outside: two confined processes, and the verdict of the one that the
answer does not run in.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from posttrain.sandbox.sandboxed import Limits, Pipes, Sandboxed, read_until
from posttrain.sandbox.tiers import SAFE, SandboxError, Tier, Unsafe

VERDICT_BYTES = 1 << 16
EXAMINER_MEMORY = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of ``ran`` tests ``passed``; ``why`` is the first failure."""

    tier: str
    ran: int
    passed: int
    why: str = ""

    @property
    def solved(self) -> bool:
        return self.ran > 0 and self.passed == self.ran


class BrokenTests(Exception):
    """The row's tests are at fault, not the answer."""


def examine(
    code: str,
    tests: str,
    *,
    tier: Tier,
    entry_point: str | None = None,
    before: str = "",
    limits: Limits | None = None,
) -> Verdict:
    """Runs Python tests that call what ``code`` defines; ``before`` is text that ``code`` completes.

    Raises SandboxError where the sandbox failed, and BrokenTests for unreadable or missing tests.
    """
    limits = limits or Limits()
    theirs = Limits(seconds=limits.seconds, memory=EXAMINER_MEMORY)
    with Pipes() as pipes, contextlib.ExitStack() as stack:
        calls, asks = pipes.pair()
        hears, replies = pipes.pair()
        verdict, decides = pipes.pair()
        ends = {"calls": calls, "replies": replies}
        stack.enter_context(
            running := Sandboxed(tier, "candidate", {"code": code, "before": before}, ends, limits)
        )
        task = {"tests": tests, "entry_point": entry_point}
        ends = {"calls": asks, "replies": hears, "verdict": decides}
        stack.enter_context(examining := Sandboxed(tier, "examiner", task, ends, theirs))
        pipes.close(calls, asks, hears, replies, decides)
        running.wait_until_ready()
        examining.wait_until_ready()
        deadline = time.monotonic() + limits.seconds
        report = read_until(verdict, deadline, VERDICT_BYTES)
        late = time.monotonic() >= deadline
    if not report:
        if not late:
            raise SandboxError(f"{tier.name}: the tests ended without a verdict")
        return Verdict(tier=tier.name, ran=1, passed=0, why=f"not done within {limits.seconds:g} s")
    return _verdict(tier, report)


def _verdict(tier: Tier, report: bytes) -> Verdict:
    try:
        verdict = json.loads(report)
        if verdict.get("broken") or not verdict["ran"]:
            raise BrokenTests(str(verdict.get("broken") or "the tests hold no test"))
        return Verdict(
            tier=tier.name, ran=int(verdict["ran"]), passed=int(verdict["passed"]), why=str(verdict["first"])
        )
    except (ValueError, TypeError, AttributeError, LookupError) as problem:
        raise SandboxError(f"{tier.name}: a verdict that cannot be read ({problem})") from None


def run_program(code: str, given: str, expected: str, *, tier: Tier, limits: Limits | None = None) -> Verdict:
    """Runs ``code`` as a program and compares what it writes, but for spaces at the ends of lines.

    Raises SandboxError where the sandbox failed.
    """
    limits = limits or Limits()
    with Sandboxed(
        tier, "candidate", {"code": code, "before": ""}, {}, limits, stdout=subprocess.PIPE
    ) as running:
        running.wait_until_ready()
        deadline = time.monotonic() + limits.seconds
        output = _converse(running.process, given.encode(), deadline, limits.output)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(max(deadline - time.monotonic(), 0.05))
        ended = running.process.poll()
    why = ""
    if len(output) > limits.output:
        why = f"more than {limits.output} bytes of output"
    elif ended != 0:
        why = f"not done within {limits.seconds:g} s" if ended is None else f"exit code {ended}"
    elif _lines(output.decode(errors="replace")) != _lines(expected):
        why = "other output than expected"
    return Verdict(tier=tier.name, ran=1, passed=int(not why), why=why)


def _converse(process: subprocess.Popen[bytes], given: bytes, deadline: float, most: int) -> bytes:
    """Writes the input while it is read, and reads the output up to one byte more than ``most``."""
    assert process.stdin is not None
    assert process.stdout is not None
    output, view = b"", memoryview(given)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        while len(output) <= most and (events := selector.select(max(deadline - time.monotonic(), 0))):
            for key, _ in events:
                if key.fileobj is process.stdout:
                    more = os.read(process.stdout.fileno(), min(1 << 16, most + 1 - len(output)))
                    if not more:
                        return output
                    output += more
                    continue
                try:
                    view = view[os.write(process.stdin.fileno(), view) :]
                except BrokenPipeError:
                    view = view[len(view) :]
                if not view:
                    selector.unregister(process.stdin)
                    process.stdin.close()
    return output


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def strongest(tiers: Sequence[Tier] = SAFE, *, unsafe: bool = False) -> Tier:
    """The first tier in which a right answer passes and a wrong one does not; ``unsafe`` adds a last resort.

    Raises SandboxError saying why each of them is not to be had.
    """
    reasons = []
    for tier in (*tiers, *([Unsafe()] if unsafe else [])):
        reason = tier.missing()
        if not reason:
            try:
                trials = [
                    examine(f"def f(x):\n    return x + {n}", "assert f(1) == 2", tier=tier) for n in (1, 2)
                ]
                if [trial.solved for trial in trials] == [True, False]:
                    return tier
                reason = f"a trial failed: {trials[0].why}"
            except SandboxError as problem:
                reason = str(problem)
        reasons.append(f"{tier.name}: {reason}")
    raise SandboxError("; ".join(reasons))
