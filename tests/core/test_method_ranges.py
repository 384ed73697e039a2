from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from posttrain.core.ranges import above_zero, at_least_one, fraction, not_negative


@dataclass
class Some:
    size: Any


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (above_zero, (1e-9, 3, None), (0.0, -1, math.inf)),
        (not_negative, (0, 2.5, None), (-1e-9, math.inf)),
        (fraction, (0, 0.5, 1, None), (-0.1, 1.1)),
        (at_least_one, (1, 7, None), (0, 1.5, -2)),
    ],
)
def test_a_setting_is_refused_by_its_name_and_value(
    check: Callable[..., None], good: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    for value in good:
        check(Some(value), "size")
    for value in (*bad, math.nan):
        with pytest.raises(ValueError, match=f"Some.size is {value}"):
            check(Some(value), "size")
