"""Which numbers a setting may have."""

from __future__ import annotations

import math

LARGEST = 1 << 63  # of a whole number


def misses(number: float, above: bool, least: int) -> str:
    """What is expected in place of a number that is below ``least``, not ``above`` 0 where it has to be, not
    finite or too large for a file; empty for others.
    """
    whole = isinstance(number, int)
    bounded = number < LARGEST if whole else math.isfinite(number)
    if bounded and number >= least and not (above and number == 0):
        return ""
    expected = f"at least {least}" if least else "a number above 0" if above else "0 or more"
    return f"{expected}, and less than 2**63" if whole and not bounded else expected
