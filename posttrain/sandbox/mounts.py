"""A file system of its own with nothing in it but what may be read: what is not there cannot be asked after.

Landlock restricts what is opened and lets ``stat`` and ``access`` tell what exists. Where the kernel lets a
process have a mount namespace, as root or by a user namespace, the paths outside are gone altogether.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from contextlib import suppress

from posttrain.sandbox.seccomp import Kernel

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # CLONE_NEWNS, CLONE_NEWUSER
BIND, RECURSIVE, PRIVATE, NO_SUID, NO_DEVICES = 1 << 12, 1 << 14, 1 << 18, 1 << 1, 1 << 2
DETACH = 2  # MNT_DETACH
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "arm64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91, "arm64": 91}
CAPABILITIES = 0x20080522  # version 3 of the header: two words a set
PLACES = ("/mnt", "/srv", "/media", "/tmp", "/var/tmp", "/sys")  # where the new root may be mounted first


def enter(kernel: Kernel, readable: Sequence[str]) -> bool:
    """From now on the process sees only files beneath ``readable``, under the same names, and has no
    capabilities. Missing paths are skipped.

    Must be called before Landlock and limits, in a process of one thread. Returns False where the kernel
    refuses: ``readable`` stays readable, and other files may still be visible.
    """
    root = _mount_point(readable)
    if root is None or not _namespaces(kernel):
        return False
    try:
        _mount(kernel, "none", "/", None, RECURSIVE | PRIVATE)
        _mount(kernel, "none", root, "tmpfs", NO_SUID | NO_DEVICES)
        for path in readable:
            _show(kernel, path, root + path)
        os.chdir(root)
        kernel.call(PIVOT_ROOT[os.uname().machine], b".", b".")
        if kernel.libc.umount2(b".", DETACH):
            kernel.fail("umount")
        os.chdir("/")
    except OSError:
        os.chdir("/")
        with suppress(OSError):  # those of a user namespace that came to nothing
            _no_capabilities(kernel)
        return False
    _no_capabilities(kernel)
    return True


def _mount_point(readable: Sequence[str]) -> str | None:
    """A directory to mount on that is above none of the ``readable`` paths."""
    whole = [os.path.realpath(path) + "/" for path in readable] + [path + "/" for path in readable]
    fitting = (
        directory for directory in PLACES if os.path.isdir(directory) and not os.path.islink(directory)
    )
    return next(
        (directory for directory in fitting if not any(one.startswith(directory + "/") for one in whole)),
        None,
    )


def _namespaces(kernel: Kernel) -> bool:
    """Mounts of its own: as root at once, otherwise in a user namespace that holds this user alone."""
    if not kernel.libc.unshare(NEW_MOUNTS):
        return True
    user, group = os.geteuid(), os.getegid()
    if kernel.libc.unshare(NEW_MOUNTS | NEW_USER):
        return False
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError:
        with suppress(OSError):
            _no_capabilities(kernel)
        return False
    return True


def _show(kernel: Kernel, path: str, target: str) -> None:
    """Binds what is at ``path``, a link followed, to ``target``, which is made for it."""
    if os.path.isdir(path):
        with suppress(FileExistsError):  # beneath something that is shown already
            os.makedirs(target)
    elif os.path.exists(path):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with suppress(OSError), open(target, "x"):
            pass
    else:
        return
    _mount(kernel, path, target, None, BIND | RECURSIVE)


def _mount(kernel: Kernel, what: str, where: str, kind: str | None, flags: int) -> None:
    given = (what.encode(), where.encode(), kind and kind.encode(), ctypes.c_ulong(flags), None)
    if kernel.libc.mount(*given):
        kernel.fail(f"mount {where}")


def _no_capabilities(kernel: Kernel) -> None:
    """Root of the namespace may do no more in it than anybody. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)
    kernel.call(CAPSET[os.uname().machine], header, (ctypes.c_uint32 * 6)())
