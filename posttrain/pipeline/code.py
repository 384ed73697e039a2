"""Which code made a product: a hash of every module that a stage's work runs through.

It does not count in a fingerprint, or every comma would throw hours of work away; a product that other code
made is named instead, and whoever knows that its results differ raises the stage's ``version``.
"""

from __future__ import annotations

import ast
import hashlib
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from posttrain.pipeline.stage import Stage

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT.name
WITHOUT_RESULTS = (
    ["pipeline"],
    ["checks"],
    ["report"],
)  # these change what is said of a product, not the product


def code(stage: Stage) -> dict[str, str]:
    """Name of a module or data file to its hash: where the stage's own classes and functions are, and what
    these import, directly or through others.
    """
    waiting = {name for value in _values(stage) if (name := value.__module__).partition(".")[0] == PACKAGE}
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= set(_imports(name)) - reached
    counted = sorted(name for name in reached if name.split(".")[1:2] not in WITHOUT_RESULTS)
    return {label: digest for name in counted for label, digest in _hashes(name)}


def changed(made: Mapping[str, Any], stage: Stage) -> list[str]:
    """What is different from the code that made a product; the package itself where that was not written
    down.
    """
    before = made.get("code")
    if before is None:
        return [PACKAGE]
    now = code(stage)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _values(value: Any) -> Iterator[type | types.FunctionType]:
    """Classes and functions among a stage's settings, its own class first; not those of other stages."""
    if isinstance(value, type | types.FunctionType):
        yield value
    elif is_dataclass(value):
        yield type(value)
        for item in fields(value):
            inner = getattr(value, item.name)
            if not isinstance(inner, Stage):
                yield from _values(inner)
    elif isinstance(value, tuple | list):
        for inner in value:
            if not isinstance(inner, Stage):
                yield from _values(inner)


def _file(name: str) -> Path | None:
    stem = ROOT.parent.joinpath(*name.split("."))
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _imports(name: str) -> tuple[str, ...]:
    """The package's modules that a module imports, inside functions too."""
    path = _file(name)
    names = [module for _, module in imported(path.read_text("utf-8"))] if path else []
    return tuple(module for module in names if module.partition(".")[0] == PACKAGE and _file(module))


def imported(text: str) -> Iterator[tuple[int, str]]:
    """What a file imports, inside functions too: how many dots stand before a name, and the dotted name; of
    ``from x import y`` both ``x`` and ``x.y``, since ``y`` may be a module. Raises SyntaxError.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = ("", *(alias.name for alias in node.names))
            yield from ((node.level, f"{node.module or ''}.{name}".strip(".")) for name in names)


@cache
def _hashes(name: str) -> tuple[tuple[str, str], ...]:
    """Of a module, and of the data that lies beside it."""
    path = _file(name)
    if path is None:
        return ()
    data_files = [] if path.parent == ROOT else sorted(path.parent.glob("*.json*"))
    labels = [name, *(f"{path.parent.name}/{data.name}" for data in data_files)]
    hashes = [hashlib.sha256(one.read_bytes()).hexdigest()[:12] for one in (path, *data_files)]
    return tuple(zip(labels, hashes, strict=True))
