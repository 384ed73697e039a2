"""The fuzzer's short form; and that it would notice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import fuzz  # noqa: E402


def test_a_few_hundred_cases_are_all_answered_in_a_sentence(tmp_path: Path) -> None:
    found = fuzz.fuzz(
        tmp_path, 240, ["rows", "yaml", "parquet", "records", "products", "drawn"], number=10**6
    )
    assert found.wrong == []
    assert found.cases >= 240


@pytest.mark.slow
def test_thousands_of_cases_are_all_answered_in_a_sentence(tmp_path: Path) -> None:
    assert fuzz.fuzz(tmp_path, 8000, [], number=2 * 10**6).wrong == []


def _raises(*_: Any) -> None:
    raise KeyError("role")


def _hangs(*_: Any) -> None:
    while True:
        pass


def _writes(source: str, *_: Any) -> list[Any]:
    (Path(source).parent.parent / "elsewhere").write_text("x")
    return []


@pytest.mark.parametrize(
    ("reader", "told"), [(_raises, "KeyError"), (_hangs, "more than"), (_writes, "elsewhere")]
)
def test_what_is_not_well_answered_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Callable[..., Any], told: str
) -> None:
    monkeypatch.setattr(fuzz, "READERS", (reader,))
    monkeypatch.setattr(fuzz, "LIMIT", 0.2)
    found = fuzz.fuzz(tmp_path, 1, ["rows"])
    assert len(found.wrong) == 1
    assert told in found.wrong[0]


def test_a_case_is_made_again_by_its_number(tmp_path: Path) -> None:
    """Its bytes are those of a random number generator of that name."""
    made: list[bytes] = []

    class Watched(fuzz.Fuzzer):
        def _read(self, case: str, rng: Any, name: str, data: bytes) -> None:
            made.append(data)

    for number in (3, 3, 4):
        case = f"rows {number}"
        Watched(tmp_path).rows(case, fuzz.random.Random(case))
    assert made[0] == made[1] != made[2]
