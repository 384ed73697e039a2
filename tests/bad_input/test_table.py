"""Every kind of bad input has a test at every entry, or a reason why it cannot come in there."""

from __future__ import annotations

import ast
import re
from functools import cache
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


HELPERS = {"answer", "accepted", "outcome", "held", "refused_over_http", "answered_over_http"}


@cache
def holding(file: str) -> frozenset[str]:
    """The functions of a file of tests that call a helper of ``answer``, themselves or by another of that
    file; ``refused`` is the fixture that calls it.
    """
    code = ast.parse((ROOT / file).read_text())
    imported = {
        alias.name
        for node in code.body
        if isinstance(node, ast.ImportFrom) and node.module == "tests.bad_input.answer"
        for alias in node.names
    }
    calls = {
        node.name: {
            call.func.id
            for call in ast.walk(node)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        }
        | {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and one.id == "refused"}
        for node in code.body
        if isinstance(node, ast.FunctionDef)
    }
    holds = (imported & HELPERS) | ({"refused"} if file.startswith("tests/bad_input/") else set())
    while more := {name for name, called in calls.items() if called & holds} - holds:
        holds |= more
    return frozenset(holds)


CELLS = [(number, entry) for number, (_, tested, _) in BAD_INPUT.items() for entry in tested]


@pytest.mark.parametrize(("number", "entry"), CELLS)
def test_every_cell_is_held_to_the_whole_contract(number: int, entry: str) -> None:
    """File or path, row, field, expectation, fix, exit code, no traceback, nothing written: by ``answer``."""
    names = [name.split("::") for name in BAD_INPUT[number][1][entry]]
    assert any(function in holding(file) for file, function in names), names


def test_what_is_no_refusal_has_its_reason() -> None:
    assert set(OTHERWISE) <= set(BAD_INPUT)
    assert all(len(reason.split()) > 3 for reason in OTHERWISE.values())
