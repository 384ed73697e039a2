"""The declared type of a field, names that only a type checker imports included."""

from __future__ import annotations

import ast
import importlib
import inspect
import typing
from functools import cache
from typing import Any

from posttrain.pipeline.fingerprint import field_types


def declared_type(kind: type, name: str) -> Any:
    """The type of a field of a dataclass, or None where its annotation cannot be read. A name that the
    class's module imports under ``if TYPE_CHECKING:`` is imported here, so this may load what the module
    itself does not; it is called for a field that somebody sets.
    """
    declared = field_types(kind).get(name)
    if declared is not None:
        return declared
    for owner in kind.__mro__:
        annotation = inspect.get_annotations(owner).get(name)
        if annotation is not None:
            return _evaluated(annotation, owner) if isinstance(annotation, str) else annotation
    return None


def _evaluated(annotation: str, owner: type) -> Any:
    module = inspect.getmodule(owner)
    if module is None:
        return None
    used = {node.id for node in ast.walk(ast.parse(annotation)) if isinstance(node, ast.Name)}
    names = {**vars(typing), **vars(module)}
    for alias, (source, original) in _type_checking_imports(module.__name__).items():
        if alias in used and alias not in names:
            names[alias] = getattr(importlib.import_module(source), original)
    try:
        return eval(annotation, names)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return None


@cache
def _type_checking_imports(module: str) -> dict[str, tuple[str, str]]:
    """Name to the module and the name there, of ``from x import y`` under ``if TYPE_CHECKING:``."""
    try:
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    except (OSError, TypeError):
        return {}
    blocks = [node for node in tree.body if isinstance(node, ast.If) and _is_type_checking(node.test)]
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in {getattr(test, "id", ""), getattr(test, "attr", "")}
