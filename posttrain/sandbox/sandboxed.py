"""A process with pipes in a tier of the sandbox: started, heard, and ended whatever it does."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from posttrain.sandbox.inside import SIZE_BYTES
from posttrain.sandbox.tiers import ENVIRONMENT, SandboxError, Tier

STARTS_WITHIN = 20.0  # seconds, on a machine that is busy with a training


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one answer may use."""

    seconds: float = 5.0  # of the clock, after everything has started
    memory: int = 512 << 20  # bytes of address space
    output: int = 1 << 16  # bytes


@dataclass
class Pipes:
    """Descriptors of this process that are closed together."""

    open: list[int] = field(default_factory=list)

    def pair(self) -> tuple[int, int]:
        """(read, write)."""
        ends = os.pipe()
        self.open += ends
        return ends

    def close(self, *ends: int) -> None:
        """All of them, or those."""
        for end in ends or tuple(self.open):
            if end in self.open:
                self.open.remove(end)
                os.close(end)

    def __enter__(self) -> Pipes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.close()


class Sandboxed:
    """``main`` of a module of this folder in a tier, told what to do by a size and so much JSON on its input.

    It says that it is confined on the descriptor ``ready``, before it does anything else.
    """

    def __init__(
        self,
        tier: Tier,
        module: str,
        task: Mapping[str, Any],
        ends: Mapping[str, int],
        limits: Limits,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        """``ends`` are named descriptors that it keeps. Raises SandboxError where it cannot be started."""
        self.pipes = Pipes()
        self._ready, ready = self.pipes.pair()
        descriptors = {**ends, "ready": ready}
        settings = {**tier.settings(), "memory": limits.memory, "seconds": limits.seconds}
        settings["parent"] = os.getpid() if settings.pop("follows") else 0
        try:
            self.process = subprocess.Popen(
                tier.command(module, tuple(descriptors.values())),
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=tuple(descriptors.values()),
                start_new_session=True,
            )
        except OSError as problem:
            self.pipes.close()
            raise SandboxError(f"{tier.name}: {problem}") from problem
        self.pipes.close(ready)
        self.name = f"{module} in {tier.name}"
        message = json.dumps({"task": task, "ends": descriptors, "settings": settings}).encode()
        try:
            self._tell(len(message).to_bytes(SIZE_BYTES, "big") + message)
        except SandboxError:
            self.end()
            raise

    def _tell(self, data: bytes) -> None:
        """Raises SandboxError where the process does not read it in time; ``wait_until_ready`` reports one
        that is gone.
        """
        assert self.process.stdin is not None
        end, deadline, view = self.process.stdin.fileno(), time.monotonic() + STARTS_WITHIN, memoryview(data)
        os.set_blocking(end, False)
        with selectors.DefaultSelector() as selector, contextlib.suppress(BrokenPipeError):
            selector.register(end, selectors.EVENT_WRITE)
            while view:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise SandboxError(f"{self.name}: it did not read its task in {STARTS_WITHIN:g} s")
                view = view[os.write(end, view) :]

    def wait_until_ready(self) -> None:
        """Raises SandboxError where it is not confined in time."""
        status = read_until(self._ready, time.monotonic() + STARTS_WITHIN, 4096)
        if status != b"ready":
            raise SandboxError(f"{self.name}: {status.decode(errors='replace') or 'it did not start'}")

    def end(self) -> int:
        """Kills it and all that it started, and returns how it ended."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.pipes.close()
        return code

    def __enter__(self) -> Sandboxed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.end()


def read_until(end: int, deadline: float, most: int) -> bytes:
    """The bytes until the end of the stream or the deadline, at most ``most`` and one more."""
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(end, selectors.EVENT_READ)
        while len(data) <= most and selector.select(max(deadline - time.monotonic(), 0)):
            more = os.read(end, min(1 << 16, most + 1 - len(data)))
            if not more:
                break
            data += more
    return data
