"""Every kind of bad input has a test at every entry, or a reason why it cannot come in there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bad_input.table import BAD_INPUT, ENTRIES, OTHERWISE

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


@pytest.mark.parametrize("number", sorted(set(BAD_INPUT) - set(OTHERWISE)))
def test_every_refusal_is_held_to_the_whole_contract_at_some_entry(number: int) -> None:
    """File or path, row, field, expectation, fix, code 2, no traceback, nothing written: by ``answer``."""
    _, tested, _ = BAD_INPUT[number]
    names = [name for cell in tested.values() for name in cell]
    assert any(name.startswith("tests/bad_input/") for name in names), names


def test_what_is_no_refusal_has_its_reason() -> None:
    assert set(OTHERWISE) <= set(BAD_INPUT)
    assert all(len(reason.split()) > 3 for reason in OTHERWISE.values())
