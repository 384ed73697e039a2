"""What each setting means: the string literal below a field in its class, read from the source.

    learning_rate: float = 1e-4
    "Step size of AdamW at its peak."

Only help and documentation ask for these, so the source is read when they do and a run pays nothing.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

PARAMETERS = "Parameters:"


@cache
def field_sentences(kind: type) -> dict[str, str]:
    """Name of a field to its sentence, without line breaks. A class inherits the sentences of its bases and
    may give a field another. A field without one, or a class without source, has no entry.
    """
    sentences: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        definition = _definition(owner)
        if definition is None:
            continue
        for declared, below in zip(definition.body, definition.body[1:]):
            if not isinstance(declared, ast.AnnAssign) or not isinstance(declared.target, ast.Name):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                text = below.value.value
                if isinstance(text, str):
                    sentences[declared.target.id] = " ".join(text.split())
    return sentences


def parameter_sentences(recipe: Callable[..., Any]) -> dict[str, str]:
    """Parameter to its sentence, from the lines ``name: sentence`` below ``Parameters:`` in the docstring of
    a recipe's function. A line that is indented deeper goes on with the sentence above it.
    """
    section = (inspect.getdoc(recipe) or "").partition(f"{PARAMETERS}\n")[2]
    sentences: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name = start[1]
            sentences[name] = start[2].strip()
        elif name and line.startswith(" " * 5):
            sentences[name] += f" {line.strip()}"
        elif line.strip():
            break
    return sentences


def without_parameters(docstring: str) -> str:
    """A recipe's docstring up to its ``Parameters:``."""
    return docstring.partition(f"{PARAMETERS}\n")[0].rstrip()


def _definition(owner: type) -> ast.ClassDef | None:
    try:
        source = inspect.getsourcefile(owner)
    except TypeError:  # a class of the interpreter, or of a module without a file
        return None
    return None if source is None else _classes(source).get(owner.__qualname__)


@cache
def _classes(source: str) -> dict[str, ast.ClassDef]:
    """Qualified name to definition of every class in a file."""
    classes: dict[str, ast.ClassDef] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                classes[f"{prefix}{child.name}"] = child
                walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                walk(child, f"{prefix}{child.name}.<locals>.")

    try:
        walk(ast.parse(Path(source).read_text("utf-8")), "")
    except OSError:
        return {}
    return classes
