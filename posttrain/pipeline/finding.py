"""A finding is a figure with its threshold, its evidence and advice; a user error is a sentence, not a
traceback.
"""

from __future__ import annotations

from dataclasses import dataclass


class UserError(Exception):
    """Something the user can mend. The message says what was found, where, what was expected and the fix.

    The command line prints it without a traceback and exits with code 2.
    """


class Waiting(Exception):
    """A stage waits for people. The message says where to go; what does not depend on it is made first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure that a preflight check or a gate looked at.

    ``learning``: it says something only of a stage that has learned for a while, nothing of a rehearsal.
    ``stops``: where it did not pass, the recipe stops; otherwise it is printed and stands in the report.
    """

    name: str
    value: float | str
    threshold: float | str | None = None
    passed: bool = True
    evidence: str = ""
    advice: str = ""
    learning: bool = False
    stops: bool = True
