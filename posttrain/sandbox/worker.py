"""A function that may hang, blow up or eat the memory, called in a process of its own for every call.

A server imports what the function needs, once, and forks for each call: a call that is late is killed, and
the next one waits for nothing. Late is counted in processor time, so a busy machine changes no outcome. Where
the machine's system calls are known, the fork can compute and read only.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from posttrain.sandbox import confine, seccomp
from posttrain.sandbox.plain_data import receive, send
from posttrain.sandbox.sandboxed import Pipes
from posttrain.sandbox.tiers import ROOT, SandboxError

IMPORTS_WITHIN = 120.0  # seconds, on a busy machine
ANSWER_BYTES = 1 << 16
LATE = "not done"  # how Outcome.failed begins where the call was given up
GRACE = 10.0  # seconds that the server itself may take to kill and to say so


def stalls_after(seconds: float) -> float:
    """Seconds of the clock after which a call of ``seconds`` of processor time is a failure, no verdict."""
    return 60.0 + 20.0 * seconds


@dataclass(frozen=True)
class WorkerOutcome:
    """``value`` where there is one; otherwise ``failed`` says what became of the call."""

    value: Any = None
    failed: str = ""


class Worker:
    """``worker(*arguments)`` is ``module:function`` of them, as plain JSON, within ``seconds`` of processor
    time and ``memory``. What the module's ``prepare()`` imports is there at every call.

    ``setup`` names another function of the module. The server calls it with the same arguments, within no
    limit, and what it returns is the call's first argument.
    """

    def __init__(self, function: str, *, seconds: float, memory: int = 2 << 30, setup: str = "") -> None:
        """Raises SandboxError where the function cannot be imported."""
        self.function, self.seconds, self.memory, self.setup = function, seconds, memory, setup
        self._start()

    def __call__(self, *arguments: Any) -> WorkerOutcome:
        """Raises SandboxError where the server fails twice, or gives the call no processor time."""
        for again in (False, True):
            if again:
                self.close()
                self._start()
            try:
                stalls = stalls_after(self.seconds)
                limits = {"seconds": self.seconds, "memory": self.memory, "stalls": stalls}
                send(self._asks, {"arguments": arguments, **limits})
                heard = self._heard(stalls + GRACE)
            except (OSError, EOFError, ValueError):
                continue
            if "stalled" in heard:
                raise SandboxError(f"{self.function}: {heard['stalled']}")
            return WorkerOutcome(**heard)
        raise SandboxError(f"{self.function}: the server does not answer")

    def _start(self) -> None:
        self._pipes = Pipes()
        asked, self._asks = self._pipes.pair()
        self._hears, answers = self._pipes.pair()
        start = (
            f"import sys; sys.path.insert(0, {ROOT!r}); from posttrain.sandbox.worker import serve; "
            f"serve({self.function!r}, {self.setup!r}, {asked}, {answers})"
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
            reply = self._heard(IMPORTS_WITHIN)
        except (EOFError, OSError):
            reply = {"failed": "the server ended"}
        if reply.get("failed"):
            self.close()
            raise SandboxError(f"{self.function}: {reply['failed']}")

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


def serve(function: str, setup: str, asked: int, answers: int) -> None:
    """The server's main: imports, then forks for every call until nobody asks."""
    try:
        name, _, called_name = function.partition(":")
        module = importlib.import_module(name)
        called = getattr(module, called_name)
        prepared = getattr(module, setup) if setup else None
        getattr(module, "prepare", lambda: None)()
    except Exception as problem:  # told to the parent, which knows what it asked for
        send(answers, {"failed": f"{type(problem).__name__}: {problem}"[:500]})
        return
    logging.disable()
    send(answers, {})
    while True:
        try:
            request = receive(asked)
            send(answers, _answered(called, prepared, request, (asked, answers)))
        except EOFError:
            return


def _answered(
    called: Callable[..., Any],
    prepared: Callable[..., Any] | None,
    request: dict[str, Any],
    ours: tuple[int, int],
) -> dict[str, Any]:
    arguments = request["arguments"]
    if prepared is not None:
        try:
            arguments = [prepared(*arguments), *arguments]
        except Exception as problem:
            return {"failed": f"{type(problem).__name__}: {problem}"[:300]}
    return _forked(called, arguments, request, ours)


def _forked(
    called: Callable[..., Any], arguments: list[Any], request: dict[str, Any], ours: tuple[int, int]
) -> dict[str, Any]:
    seconds = request["seconds"]
    with Pipes() as pipes:
        hears, tells = pipes.pair()
        server = os.getpid()
        child = os.fork()
        if child == 0:
            _call(called, arguments, request, tells, (hears, *ours), server)
        pipes.close(tells)
        ended, data = False, b""
        try:
            data, ended = _until_it_ends(hears, ours[0], time.monotonic() + request["stalls"])
        finally:
            if not ended:
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGXCPU):
        return {"failed": f"{LATE} within {seconds:g} s of processor time"}
    if not ended and len(data) <= ANSWER_BYTES:
        return {"stalled": f"no answer after {request['stalls']:g} s; the machine is too busy"}
    if not data:
        return {"failed": "it crashed"}
    try:
        reply = json.loads(data)
    except ValueError:
        return {"failed": "its value is no plain JSON"}
    return {"value": reply["value"]} if "value" in reply else {"failed": str(reply["failed"])}


def _until_it_ends(hears: int, asked: int, deadline: float) -> tuple[bytes, bool]:
    """The fork's output, and whether it ended before the deadline and within the allowed bytes.

    Raises EOFError where the parent is gone: it sends nothing while a call is under way.
    """
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(hears, selectors.EVENT_READ)
        selector.register(asked, selectors.EVENT_READ)
        while len(data) <= ANSWER_BYTES:
            ready = {key.fd for key, _ in selector.select(max(deadline - time.monotonic(), 0))}
            if asked in ready:
                raise EOFError("the parent is gone")
            if hears not in ready:
                return data, False
            more = os.read(hears, 1 << 16)
            if not more:
                return data, True
            data += more
    return data, False


def _call(
    called: Callable[..., Any],
    arguments: list[Any],
    request: dict[str, Any],
    tells: int,
    others: tuple[int, ...],
    server: int,
) -> None:
    """In the fork: confines itself, makes one call and exits."""
    try:
        for end in others:
            os.close(end)
        confine.die_with_parent(server)
        confine.limit(request["memory"], request["seconds"])
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        if seccomp.supported():
            seccomp.apply(seccomp.Kernel.open())
        try:
            reply = {"value": called(*arguments)}
        except Exception as problem:
            reply = {"failed": f"{type(problem).__name__}: {problem}"[:300]}
        data = json.dumps(reply).encode()
        while data:
            data = data[os.write(tells, data) :]
    finally:
        os._exit(0)
