"""math-verify's own cases (Hugging Face), read from its source distribution where that lies.

Unpack what `pip download --no-binary :all: --no-deps math-verify==0.9.0` gives and name the directory in
POSTTRAIN_MATH_VERIFY; without it the file is skipped. Its tests are read for their parameters; none is run.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("math_verify")

from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.math_answer import MathAnswer
from tests.rewards.adversarial import episode

SOURCE = os.environ.get("POSTTRAIN_MATH_VERIFY", "")
LEAST = 245 / 261  # of the cases

Case = tuple[str, str, bool]  # a known answer, an answer, whether they are the same


@pytest.mark.slow
@pytest.mark.skipif(not SOURCE, reason="needs math-verify's source distribution at POSTTRAIN_MATH_VERIFY")
def test_math_answer_agrees_with_math_verifys_cases() -> None:
    found = cases(Path(SOURCE) / "tests")
    assert len(found) > 250
    with MathAnswer(seconds=5).open(Inputs({}), Machine()) as scorer:
        rewards = scorer.score([episode({"answer": gold}, said) for gold, said, _ in found])
    paid = [bool(value) for value in rewards.values]
    assert [case for case, value in zip(found, paid, strict=True) if value and not case[2]] == []
    agreed = sum(value == case[2] for case, value in zip(found, paid, strict=True))
    assert agreed >= LEAST * len(found), f"{agreed} of {len(found)}"


def cases(folder: Path) -> list[Case]:
    """Each (gold, pred) with its expectation, of all files of the folder."""
    found = []
    for path in sorted(folder.glob("test_*.py")):
        for function in vars(_module(path)).values():
            for mark in getattr(function, "pytestmark", []):
                found += _parameters(mark)
    return list(dict.fromkeys(found))


def _parameters(mark: Any) -> list[Case]:
    names = [name.strip() for name in str(mark.args[0]).split(",")] if mark.args else []
    rows = (
        [dict(zip(names, row, strict=True)) for row in mark.args[1]] if {"gold", "pred"} <= set(names) else []
    )
    return [(row["gold"], row["pred"], bool(row.get("expected", row.get("result")))) for row in rows]


def _module(path: Path) -> ModuleType:
    text = path.read_text("utf-8").replace("from tests.test_all import compare_strings\n", "")
    made = ModuleType(path.stem)
    exec(compile(text, str(path), "exec"), made.__dict__)
    return made
