"""Every metric that the package declares, read from the source of the files that compute them.

A report, a page of documentation and ``posttrain report --explain`` need the declarations of all stages;
reading them from the source imports neither torch nor a stage.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from posttrain.metrics import INHERITED, Declarations, Declared, Metric, MetricKind, Where, declare_metric

PACKAGE = Path(__file__).resolve().parent.parent
CALL = declare_metric.__name__


@dataclass(frozen=True)
class DeclaredIn:
    """A declaration, and the file below the package that has it."""

    kind: MetricKind
    file: str


@cache
def sources() -> tuple[DeclaredIn, ...]:
    """All declarations, by file. Raises ValueError for one whose arguments are no literals."""
    declared: list[DeclaredIn] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text("utf-8")
        file = path.relative_to(PACKAGE).as_posix()
        if f"= {CALL}(" in text:
            declared += [DeclaredIn(kind, file) for kind in declarations_in(text, file)]
    return tuple(declared)


def declarations_in(text: str, file: str) -> Iterator[MetricKind]:
    """Those of a module's own level. Raises ValueError for one whose arguments are no literals."""
    for node in ast.parse(text, file).body:
        call = node.value if isinstance(node, ast.Assign) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == CALL:
            try:
                name, meaning = map(ast.literal_eval, call.args)
                named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
            except ValueError as error:
                raise ValueError(f"{file}:{call.lineno}: a metric is declared by literals: {error}") from None
            yield MetricKind(name=name, meaning=meaning, **named)


@cache
def catalogue() -> Declarations:
    return Declarations([source.kind for source in sources()])


@cache
def declared(name: str, where: Where = "", metric: Metric | None = None) -> Declared | None:
    """The declaration behind a name; None for a metric that the package does not declare."""
    return catalogue().of(name, where, metric)


def explained(name: str) -> list[str]:
    """What a name means, a line for each metric that has it; empty for one that nobody declares."""
    lines = []
    for source in sources():
        match = Declarations([source.kind, *catalogue().kinds]).of(name) if source.kind.name == name else None
        if match is not None:
            lines.append(described(match, name, source.file))
    if not lines and (match := declared(name)):
        file = next(source.file for source in sources() if source.kind == match.kind)
        lines.append(described(match, name, file))
    return lines


def described(declared: Declared, name: str, file: str) -> str:
    """A metric with its unit, the direction that is good, and the file that computes it."""
    where = {"log": "at every step", "report": "of a stage", "": ""}[declared.kind.where]
    facts = [declared.unit, {"up": "more is better", "down": "less is better", "none": ""}[declared.better]]
    about = "; ".join(fact for fact in (*facts, where) if fact)
    return f"{name}: {declared.meaning} ({about}; posttrain/{file})"


def nearest_names(name: str, count: int = 5) -> list[str]:
    """Declared names that a misspelt one may mean, those that are made of another metric among them."""
    names = [source.kind.name for source in sources()]
    whole = [kind for kind in catalogue().kinds if not kind.slots]
    names += [
        kind.named(metric=one) for kind in catalogue().kinds if kind.slots == (INHERITED,) for one in whole
    ]
    return difflib.get_close_matches(name, list(dict.fromkeys(names)), count, 0.5)
