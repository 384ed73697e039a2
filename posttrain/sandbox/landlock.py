"""Landlock: what a process may read, written into the process itself; needs no privilege."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from posttrain.sandbox.seccomp import Kernel

CREATE, ADD, RESTRICT = 444, 445, 446  # the same numbers everywhere
READ_FILE, READ_DIR = 1 << 2, 1 << 3
# bits that a kernel's version of Landlock knows: files; TCP; signals and abstract sockets
FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
NETWORK, SCOPES = 0b11, 0b11


class _Handled(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version(kernel: Kernel) -> int:
    """Of this kernel's Landlock. Raises OSError where it has none."""
    return kernel.call(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))


def apply(kernel: Kernel, readable: Sequence[str]) -> None:
    """From now on only files beneath ``readable`` can be opened, and only for reading. Missing paths are
    skipped. Raises OSError where Landlock is missing.
    """
    abi = version(kernel)
    handled = _Handled(
        files=(1 << FILES.get(abi, 16)) - 1,
        network=NETWORK if abi >= 4 else 0,
        scopes=SCOPES if abi >= 6 else 0,
    )
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = kernel.call(CREATE, ctypes.byref(handled), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(kernel, ruleset, path)
        kernel.prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
        kernel.call(RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(kernel: Kernel, ruleset: int, path: str) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
        rule = _Beneath(allowed=rights, parent=parent)
        kernel.call(ADD, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(parent)
