"""A deliberate mistake: a line of the package, and what stands there instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """``old`` appears exactly once in the file; ``tests`` are pytest's arguments, and must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


CONTRACT = "tests/contract/test_contract.py"


def of(name: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    return Mutation(name, file, old, new, tests)


def contract(*methods: str) -> tuple[str, ...]:
    """The contract of these methods, without their pages."""
    return (CONTRACT, "-k", f"({' or '.join(f'{m}-' for m in methods)}) and not has_a_page")
