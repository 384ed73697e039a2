"""What the processes of the sandbox share: being told what to do, and being confined before doing it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from posttrain.sandbox.confine import close_others, confine

SIZE_BYTES = 8  # of the number that says how long the task is


@dataclass(frozen=True)
class Assignment:
    """The task, and the descriptors by name."""

    task: dict[str, Any]
    ends: dict[str, int]


def begin() -> Assignment:
    """Reads the task, confines this process and reports that it is ready. The rest of the
    input stays unread.
    """
    message = json.loads(_exactly(int.from_bytes(_exactly(SIZE_BYTES), "big")))
    ready = message["ends"].pop("ready")
    try:
        close_others([ready, *message["ends"].values()])
        sys.path[:] = [path for path in sys.path if "posttrain" not in path]
        confine(message["settings"])
    except Exception as problem:  # whatever it was, the parent is to know
        os.write(ready, f"{type(problem).__name__}: {problem}".encode()[:2000])
        os._exit(3)
    os.write(ready, b"ready")
    os.close(ready)
    return Assignment(message["task"], message["ends"])


def _exactly(size: int) -> bytes:
    """So many bytes of the input and not one more; they come in blocks."""
    blocks = []
    while size:
        block = os.read(0, min(size, 1 << 20))
        if not block:
            os._exit(3)
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
