"""Every kind of bad input has a test at every entry, or a reason why it cannot come in there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bad_input.table import BAD_INPUT, ENTRIES

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_has_its_number() -> None:
    assert list(BAD_INPUT) == list(range(1, 43))


@pytest.mark.parametrize("number", BAD_INPUT)
def test_every_cell_names_tests_that_are_there_or_a_reason(number: int) -> None:
    what, tested, reason = BAD_INPUT[number]
    assert what
    assert tested
    assert set(tested) <= set(ENTRIES)
    assert len(tested) == len(ENTRIES) or len(reason.split()) > 3
    for name in (name for names in tested.values() for name in names):
        file, _, function = name.partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE), name
