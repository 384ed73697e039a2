"""What the processes of the sandbox share: being told what to do, and being confined before doing it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from posttrain.sandbox.confine import close_others, confine


@dataclass(frozen=True)
class Told:
    """The task, and the descriptors by name."""

    task: dict[str, Any]
    ends: dict[str, int]


def begin() -> Told:
    """Reads the line, confines this process and says so. What follows the line stays on the input."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            os._exit(3)
        line += more
    told = json.loads(line)
    ready = told["ends"].pop("ready")
    try:
        close_others([ready, *told["ends"].values()])
        sys.path[:] = [path for path in sys.path if "posttrain" not in path]
        confine(told["settings"])
    except Exception as problem:  # whatever it was, the parent is to know
        os.write(ready, f"{type(problem).__name__}: {problem}".encode()[:2000])
        os._exit(3)
    os.write(ready, b"ready")
    os.close(ready)
    return Told(told["task"], told["ends"])
