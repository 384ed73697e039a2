"""scripts/mutate.py takes minutes; that its mistakes can still be made is seen at once."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mutate import unmutated  # noqa: E402
from mutations import MUTATIONS, Mutation  # noqa: E402


def test_every_mutation_fits_its_file_once_and_leaves_python() -> None:
    assert len(MUTATIONS) >= 300
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS)
    for mutation in MUTATIONS:
        text = (ROOT / "posttrain" / mutation.file).read_text("utf-8")
        assert text.count(mutation.old) == 1, mutation.name
        assert mutation.old != mutation.new, mutation.name
        ast.parse(text.replace(mutation.old, mutation.new))


def test_every_mutation_names_tests_that_are_there() -> None:
    for mutation in MUTATIONS:
        for test in mutation.tests:
            file, _, function = test.partition("::")
            if test.startswith("tests/"):
                assert (ROOT / file).is_file(), (mutation.name, test)
                assert not function or f"def {function}(" in (ROOT / file).read_text("utf-8"), test


@pytest.mark.parametrize("folder", ["core", "training", "rollouts", "engines", "rewards", "models", "data"])
def test_no_part_is_without_mistakes(folder: str) -> None:
    assert sum(m.file.startswith(f"{folder}/") for m in MUTATIONS) >= 5


def test_all_tests_are_first_run_without_mutations() -> None:
    chosen = [
        Mutation("a", "x", "", "", ("tests/a.py::one",)),
        Mutation("b", "x", "", "", ("tests/a.py",)),
        Mutation("c", "x", "", "", ("tests/b.py::two",)),
        Mutation("d", "x", "", "", ("tests/c.py", "-k", "some")),
        Mutation("e", "x", "", "", ("tests/c.py", "-k", "others and not slow")),
    ]
    both = ("tests/c.py", "-k", "(others and not slow) or (some)")
    assert unmutated(chosen) == [("tests/a.py", "tests/b.py::two"), both]
