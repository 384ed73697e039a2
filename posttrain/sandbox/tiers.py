"""How strongly code that a model wrote is kept apart, strongest first. A tier is a value."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from posttrain.sandbox import confine, landlock, seccomp

ROOT = str(Path(__file__).resolve().parent.parent.parent)
INSIDE = "/posttrain"  # where bubblewrap shows this folder, and nothing else of the package
ENVIRONMENT = {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


class SandboxError(Exception):
    """The sandbox did not do its work. It says nothing of the code that was to run in it."""


class Tier(Protocol):
    """``name`` stands in every record of what ran in it."""

    @property
    def name(self) -> str: ...

    def missing(self) -> str:
        """Why it cannot be had here; empty where it may be tried."""

    def command(self, module: str, descriptors: Sequence[int]) -> list[str]:
        """Runs ``main`` of a module of this folder; the descriptors stay open."""

    def settings(self) -> dict[str, Any]:
        """What the process is to do to itself before it runs the model's code; ``follows``: also to die with
        the thread that started it.
        """


@dataclass(frozen=True)
class Bubblewrap:
    """Namespaces of its own: no network, no other process, no file but the interpreter's; and seccomp."""

    name: str = "bubblewrap"

    def missing(self) -> str:
        """Why it cannot be had here; empty where it may be tried."""
        if not seccomp.supported():
            return "the system calls of this machine are not known"
        return "" if shutil.which("bwrap") else "bwrap is not installed"

    def command(self, module: str, descriptors: Sequence[int]) -> list[str]:
        """bwrap with an empty world around a Python without site-packages."""
        where = str(Path(__file__).resolve().parent)
        words = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
        for name, value in ENVIRONMENT.items():
            words += ["--setenv", name, value]
        for path in confine.interpreter():
            words += ["--ro-bind-try", path, path]
        words += ["--dev", "/dev", "--ro-bind", where, f"{INSIDE}/posttrain/sandbox"]
        words += ["--remount-ro", "/", "--chdir", "/"]
        return [shutil.which("bwrap") or "bwrap", *words, "--", *_python(module, INSIDE)]

    def settings(self) -> dict[str, Any]:
        """The namespaces hold by themselves; seccomp refuses further processes."""
        return {"mounts": False, "landlock": False, "seccomp": True, "readable": [], "follows": False}


@dataclass(frozen=True)
class Landlock:
    """The process gives up files, network, signals and further processes by Landlock and seccomp. Where the
    kernel lets it, it also moves to where nothing else is (``mounts``), since Landlock does not restrict what
    ``stat`` and ``access`` tell.
    """

    name: str = "landlock"

    def missing(self) -> str:
        """Why it cannot be had here; empty where it may be tried."""
        if not seccomp.supported():
            return "the system calls of this machine are not known"
        try:
            landlock.version(seccomp.Kernel.open())
        except OSError as problem:
            return f"this kernel has no Landlock ({problem.strerror})"
        return ""

    def command(self, module: str, descriptors: Sequence[int]) -> list[str]:
        """A Python without site-packages."""
        return _python(module, ROOT)

    def settings(self) -> dict[str, Any]:
        """Only the interpreter's own files may be read."""
        readable = list(confine.interpreter())
        return {"mounts": True, "landlock": True, "seccomp": True, "readable": readable, "follows": True}


@dataclass(frozen=True)
class Unsafe:
    """A process with limits and an empty environment: files, network and processes are open to it."""

    name: str = "unsafe"

    def missing(self) -> str:
        """It is there wherever processes are."""
        return "" if os.name == "posix" else "it needs a system with POSIX processes"

    def command(self, module: str, descriptors: Sequence[int]) -> list[str]:
        """A Python without site-packages."""
        return _python(module, ROOT)

    def settings(self) -> dict[str, Any]:
        """Limits alone."""
        return {"mounts": False, "landlock": False, "seccomp": False, "readable": [], "follows": True}


def _python(module: str, root: str) -> list[str]:
    start = f"import sys; sys.path.insert(0, {root!r}); from posttrain.sandbox.{module} import main; main()"
    return [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", start]


SAFE: tuple[Tier, ...] = (Bubblewrap(), Landlock())
