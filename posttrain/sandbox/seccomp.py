"""A list of the system calls that computing needs, and a filter that refuses all others with EPERM.

No process or thread is started, no signal sent, no socket opened, no file opened for writing, and nothing of
another process touched, whoever the user is. Filters are inherited and cannot be taken off again.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

# name: number on x86_64 and on aarch64, None where there is no such call
CALLS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "poll": (7, None),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "select": (23, None),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "dup": (32, 23),
    "nanosleep": (35, 101),
    "getitimer": (36, 102),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "getpid": (39, 172),
    "exit": (60, 93),
    "uname": (63, 160),
    "getcwd": (79, 17),
    "gettimeofday": (96, 169),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getppid": (110, 173),
    "sigaltstack": (131, 132),
    "arch_prctl": (158, None),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "getdents64": (217, 61),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "newfstatat": (262, 79),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "set_robust_list": (273, 99),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "rseq": (334, 293),
}
OPENS = {"open": ((2, None), 1), "openat": ((257, 56), 2)}  # numbers, and which argument holds the flags
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE; and O_PATH, which Landlock lets through: it tells what exists
WRITES = 0o3 | 0o100 | 0o1000 | 0o20000000 | 0o10000000
IOCTL, ASKS = (16, 29), (0x5401, 0x541B, 0x5450, 0x5451)  # TCGETS, FIONREAD, FIONCLEX, FIOCLEX
# A signal may also be sent by F_SETOWN and O_ASYNC, so only descriptors are duplicated and looked at.
FCNTL, LOOKS = (72, 25), (0, 1, 2, 3, 1030)
PRLIMIT = (302, 261)
MISSING = ((435, 435),)  # clone3: glibc then tries clone, which is refused like the rest
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data


def supported() -> bool:
    """Whether the system calls of this machine are known here."""
    return platform.system() == "Linux" and platform.machine() in ARCHITECTURES


def program() -> list[Instruction]:
    """The filter for this machine. Raises OSError where its system calls are not known."""
    if not supported():
        raise OSError(f"no list of the system calls of {platform.system()} on {platform.machine()}")
    column, architecture = ARCHITECTURES[platform.machine()]
    refuse = (RETURN, 0, 0, ERROR | errno.EPERM)
    code: list[Instruction] = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), refuse]
    code.append((LOAD, 0, 0, NUMBER))

    def rule(numbers: Sequence[int | None], body: list[Instruction]) -> None:
        number = numbers[column]
        if number is not None:
            code.extend([(EQUAL, 0, len(body), number), *body])

    allow = (RETURN, 0, 0, ALLOW)
    for numbers in CALLS.values():
        rule(numbers, [allow])
    for numbers, argument in OPENS.values():
        rule(numbers, [(LOAD, 0, 0, _argument(argument)), (ANY_BIT, 1, 0, WRITES), allow, refuse])
    for numbers, wanted in ((IOCTL, ASKS), (FCNTL, LOOKS)):
        tests = [(EQUAL, len(wanted) - i, 0, value) for i, value in enumerate(wanted)]
        rule(numbers, [(LOAD, 0, 0, _argument(1)), *tests, refuse, allow])
    # limits may be read, of this process alone: pid 0 and no new ones
    words = (_argument(0), _argument(2), _argument(2) + 4)
    tests = [step for n, word in enumerate(words) for step in ((LOAD, 0, 0, word), (EQUAL, 0, 5 - 2 * n, 0))]
    rule(PRLIMIT, [*tests, allow, refuse])
    for numbers in MISSING:
        rule(numbers, [(RETURN, 0, 0, ERROR | errno.ENOSYS)])
    return [*code, refuse]


def _argument(index: int) -> int:
    """The offset of an argument's lower half; both machines are little-endian."""
    return 16 + 8 * index


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


@dataclass(frozen=True)
class Kernel:
    """The two calls of libc that are needed, as calls that raise OSError."""

    libc: ctypes.CDLL

    @classmethod
    def open(cls) -> Kernel:
        return cls(ctypes.CDLL(None, use_errno=True))

    def prctl(self, option: int, first: int, second: object = 0) -> None:
        """prctl(2)."""
        given = second if not isinstance(second, int) else ctypes.c_ulong(second)
        if self.libc.prctl(option, ctypes.c_ulong(first), given, ctypes.c_ulong(0), ctypes.c_ulong(0)):
            self.fail(f"prctl {option}")

    def call(self, number: int, *arguments: object) -> int:
        """syscall(2)."""
        result = int(self.libc.syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            self.fail(f"system call {number}")
        return result

    @staticmethod
    def fail(what: str) -> NoReturn:
        """Raises OSError with what libc says of its last call."""
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {errno.errorcode.get(number, number)}")


def apply(kernel: Kernel) -> None:
    """From here on this process can compute and read what it may, no more. Raises OSError."""
    code = program()
    steps = (_Instruction * len(code))(*(_Instruction(*step) for step in code))
    kernel.prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    kernel.prctl(22, 2, ctypes.byref(_Program(len(code), steps)))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
