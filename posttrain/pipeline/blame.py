"""Whose code raised an error: this package's, or a user's own stage, method, environment or reward."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
FRAMES = 3  # of the user's own code, the innermost ones
LONGEST = 200  # characters of a message, of a source line and of a text


def raised_by_user(error: BaseException) -> str:
    """The function of a user's own file that raised ``error``, or that called the installed library that
    did, with the lines of that file; empty where code of this package is nearer to the error.
    """
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if Path(file).is_relative_to(ROOT):
            return ""
        if not file.startswith(("<", *INSTALLED)):
            lines = [f"{frame.f_code.co_qualname} raised {short(f'{type(error).__name__}: {error}')}"]
            lines += [f"  at {line}" for line in user_frames(error)]
            return "\n".join(
                [*lines, "  Mend that code; finished stages stay, and nothing half-made is left"]
            )
    return ""


def user_frames(error: BaseException) -> list[str]:
    """``file:line, in function: source`` of the user's own code; of all code outside of this package where
    none of it is the user's own.
    """
    outside = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not Path(frame.filename).is_relative_to(ROOT)
    ]
    theirs = [frame for frame in outside if not frame.filename.startswith(INSTALLED)] or outside
    return [
        f"{frame.filename}:{frame.lineno}, in {frame.name}: {short(frame.line or '')}"
        for frame in theirs[-FRAMES:]
    ]


def short(text: str) -> str:
    """The first ``LONGEST`` characters of a text."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
