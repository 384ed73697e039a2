"""What a process does to itself before it runs a line that a model wrote."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from posttrain.sandbox import landlock, mounts, seccomp

DENIED = (errno.EPERM, errno.EACCES)  # the filter's answer; that a path is not there would prove nothing


def interpreter() -> tuple[str, ...]:
    """The paths that a Python without site-packages reads: itself, its standard library, system libraries."""
    executable = os.path.realpath(sys.executable)
    library = os.path.dirname(os.path.realpath(os.__file__))
    system = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
    libraries = (os.path.join(sys.base_prefix, "lib"), os.path.join(sys.base_exec_prefix, "lib"))
    real = map(os.path.realpath, libraries)  # of a Python that is a symbolic link
    return tuple(dict.fromkeys((executable, library, *libraries, *real, *system)))


def die_with_parent(parent: int) -> None:
    """The kernel kills this process when the thread that started it ends. ``parent`` is the pid that it had;
    where that is gone already, this process ends now.
    """
    if not sys.platform.startswith("linux"):
        return
    seccomp.Kernel.open().prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(3)


def limit(memory: int, seconds: float) -> None:
    """Limits memory (bytes of address space) and CPU time; forbids core files and writing to files."""
    wanted = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for which, most in wanted.items():
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(which, (most, most))
        except (ValueError, OSError):
            if sys.platform.startswith("linux"):  # other systems lack some of these; no safe tier is there
                raise


def confine(settings: Mapping[str, Any]) -> None:
    """What the tier in ``settings`` asks of the process itself, with limits, and a look at whether it holds.

    Raises OSError where it does not: then nothing of the model's may run.
    """
    kernel = seccomp.Kernel.open()
    if settings["mounts"] and mounts.enter(kernel, settings["readable"]):  # else Landlock is left
        _refused("what is outside", lambda: os.stat("/proc/self"))
    if settings["parent"]:
        die_with_parent(settings["parent"])  # after the last change of what this process may do
    limit(settings["memory"], settings["seconds"])
    if settings["landlock"]:
        landlock.apply(kernel, settings["readable"])
    if settings["seccomp"]:
        seccomp.apply(kernel)
        _refused("a signal", lambda: os.kill(os.getpid(), 0), DENIED)
        _refused("a file to write", lambda: os.open("/dev/null", os.O_RDWR), DENIED)
        _refused("a process", os.fork, DENIED)
    if settings["landlock"]:
        _refused("the root directory", lambda: os.listdir("/"))


def _refused(what: str, attempt: Any, by: Collection[int] = ()) -> None:
    """Raises OSError where the attempt succeeds, or fails otherwise than with an error of ``by``."""
    try:
        done = attempt()
    except OSError as error:
        if by and error.errno not in by:
            raise
        return
    if done == 0 and attempt is os.fork:
        os._exit(1)
    raise OSError(f"{what} was not refused")


def close_others(keep: Sequence[int]) -> None:
    """Closes every file descriptor but 0, 1, 2 and ``keep``."""
    open_ends = sorted({0, 1, 2, *keep})
    for low, high in zip(open_ends, [*open_ends[1:], 4096], strict=True):
        os.closerange(low + 1, high)
