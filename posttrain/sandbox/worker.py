"""A function that may hang, blow up or eat the memory, called in a process of its own for every call.

A server imports what the function needs, once, and forks for each call: a call that is late is killed, and
the next one waits for nothing. Where the machine's system calls are known, the fork can compute and read
only.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from posttrain.sandbox import confine, seccomp
from posttrain.sandbox.process import Pipes, read_until
from posttrain.sandbox.tiers import ROOT, SandboxError
from posttrain.sandbox.values import receive, send

IMPORTS_WITHIN = 120.0  # seconds, on a busy machine
ANSWER_BYTES = 1 << 16
LATE = "not done"  # how Outcome.failed begins where the call was given up
GRACE = 10.0  # seconds that the server itself may take to kill and to say so


@dataclass(frozen=True)
class Outcome:
    """``value`` where there is one; otherwise ``failed`` says what became of the call."""

    value: Any = None
    failed: str = ""


class Worker:
    """``worker(*arguments)`` is ``module:function`` of them, as plain JSON, within ``seconds`` and
    ``memory``. What the module's ``prepare()`` imports is there at every call.
    """

    def __init__(self, function: str, *, seconds: float, memory: int = 2 << 30) -> None:
        """Raises SandboxError where the function cannot be imported."""
        self.function, self.seconds, self.memory = function, seconds, memory
        self._start()

    def __call__(self, *arguments: Any) -> Outcome:
        """Raises SandboxError where the server fails twice."""
        for again in (False, True):
            if again:
                self.close()
                self._start()
            try:
                send(self._asks, {"arguments": arguments, "seconds": self.seconds, "memory": self.memory})
                return Outcome(**self._heard(self.seconds + GRACE))
            except (OSError, EOFError, ValueError):
                continue
        raise SandboxError(f"{self.function}: the server does not answer")

    def _start(self) -> None:
        self._pipes = Pipes()
        asked, self._asks = self._pipes.pair()
        self._hears, answers = self._pipes.pair()
        start = (
            f"import sys; sys.path.insert(0, {ROOT!r}); from posttrain.sandbox.worker import serve; "
            f"serve({self.function!r}, {asked}, {answers})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(asked, answers),
            start_new_session=True,
        )
        self._pipes.close(asked, answers)
        try:
            told = self._heard(IMPORTS_WITHIN)
        except (EOFError, OSError):
            told = {"failed": "the server ended"}
        if told.get("failed"):
            self.close()
            raise SandboxError(f"{self.function}: {told['failed']}")

    def _heard(self, seconds: float) -> dict[str, Any]:
        if not select.select([self._hears], [], [], seconds)[0]:
            raise EOFError("no answer in time")
        heard: dict[str, Any] = receive(self._hears)
        return heard

    def close(self) -> None:
        """Ends the server and any call under way."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.process.kill()
        self.process.wait()
        self._pipes.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.close()


def serve(function: str, asked: int, answers: int) -> None:
    """The server's main: imports, then forks for every call until nobody asks."""
    try:
        name, _, called_name = function.partition(":")
        module = importlib.import_module(name)
        called = getattr(module, called_name)
        getattr(module, "prepare", lambda: None)()
    except Exception as problem:  # told to the parent, which knows what it asked for
        send(answers, {"failed": f"{type(problem).__name__}: {problem}"[:500]})
        return
    logging.disable()
    send(answers, {})
    while True:
        try:
            request = receive(asked)
        except EOFError:
            return
        send(answers, _forked(called, request, (asked, answers)))


def _forked(called: Callable[..., Any], request: dict[str, Any], ours: tuple[int, int]) -> dict[str, Any]:
    with Pipes() as pipes:
        hears, tells = pipes.pair()
        child = os.fork()
        if child == 0:
            _call(called, request, tells, (hears, *ours))
        pipes.close(tells)
        deadline = time.monotonic() + request["seconds"]
        said = read_until(hears, deadline, ANSWER_BYTES)
        late = time.monotonic() >= deadline
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if late or not said:
        return {"failed": f"{LATE} within {request['seconds']:g} s" if late else "it crashed"}
    try:
        found = json.loads(said)
    except ValueError:
        return {"failed": "its value is no plain JSON"}
    return {"value": found["value"]} if "value" in found else {"failed": str(found["failed"])}


def _call(called: Callable[..., Any], request: dict[str, Any], tells: int, others: tuple[int, ...]) -> None:
    """In the fork: confined, one call, and gone."""
    try:
        for end in others:
            os.close(end)
        confine.limit(request["memory"], request["seconds"])
        if seccomp.supported():
            seccomp.apply(seccomp.Kernel.open())
        try:
            found = {"value": called(*request["arguments"])}
        except Exception as problem:
            found = {"failed": f"{type(problem).__name__}: {problem}"[:300]}
        data = json.dumps(found).encode()
        while data:
            data = data[os.write(tells, data) :]
    finally:
        os._exit(0)
