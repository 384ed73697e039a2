"""What went wrong with the machine and not with the program: a full disk, no permission, no memory; each
however the library says it that met it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

_FULL = re.compile(
    r"no space left on device|\(os error 28\)|disk quota exceeded|\(os error 122\)"
    r"|PytorchStreamWriter failed writing|inline_container\.cc.*unexpected pos",  # of torch.save
    re.IGNORECASE,
)
_LARGE = re.compile(r"file too large|\(os error 27\)", re.IGNORECASE)
_MEMORY = re.compile(r"out of memory|can't allocate memory|cannot allocate memory", re.IGNORECASE)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def trouble(error: BaseException, where: str = "the workspace") -> str:
    """What is to be freed or changed; empty where the error is none of the machine's. ``where`` is named
    where the error names no file.
    """
    for cause in _causes(error):
        named = str(getattr(cause, "filename", None) or where)
        number = cause.errno if isinstance(cause, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(str(cause)):
            left = "nothing half-written is left"
            return f"{named}: the disk is full; {left}. Free space, or use another --workspace"
        if number == errno.EFBIG or _LARGE.search(str(cause)):
            return f"{named}: larger than this machine lets a file be (ulimit -f); raise that limit"
        if number in _FORBIDDEN and isinstance(cause, OSError) and cause.filename:
            return f"{named}: {cause.strerror}; make it writable, or use another --workspace"
        if isinstance(cause, MemoryError) or _MEMORY.search(str(cause)):
            return "out of memory; try --micro-batch-tokens with half of what it was"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, or in the handling of."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
