"""The settings of a stage as a user would type them, each with its sentence."""

from __future__ import annotations

import json
import shlex
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from posttrain.pipeline.fingerprint import alternatives, field_types
from posttrain.pipeline.outside import typed
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import LABELS, Stage
from posttrain.settings.sentences import field_sentences


@dataclass(frozen=True)
class Setting:
    """One setting: ``name=text`` is a word of a shell, and ``sentence`` says what it means."""

    name: str
    text: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.name}={shlex.quote(self.text) if self.text else ''}"


def settings_of(value: Any, prefix: str = "") -> Iterator[Setting]:
    """What can be set of a stage or of an object in one, in the order of its fields, the fields of an object
    below it; the objects in a tuple are numbered, ``parts[1].coef``. A stage's inputs are left out: they are
    set at their own addresses.
    """
    kind: type = type(value)
    sentences = field_sentences(kind)
    for item in fields(value):
        inner = getattr(value, item.name)
        if (isinstance(value, Stage) and item.name in LABELS) or not item.init:
            continue
        if inner is None and _is_input(kind, item.name):
            continue
        yield from _listed(f"{prefix}{item.name}", inner, sentences.get(item.name, ""))


def _listed(name: str, value: Any, sentence: str) -> Iterator[Setting]:
    """A value, or those in it that can be set."""
    if isinstance(value, tuple | list | dict) and any(map(is_dataclass, _items(value).values())):
        for key, inner in _items(value).items():
            yield from _listed(f"{name}[{key}]", inner, sentence)
    elif not isinstance(value, Stage):
        yield Setting(name, as_typed(value), sentence)
        if is_dataclass(value) and not isinstance(value, type | SourceFile):
            yield from settings_of(value, f"{name}.")


def _items(value: Any) -> dict[str, Any]:
    """The members of a collection by what stands in brackets."""
    return value if isinstance(value, dict) else {str(n): inner for n, inner in enumerate(value, start=1)}


def _is_input(kind: type, name: str) -> bool:
    """Whether a field takes a stage, of which a recipe may give none."""
    members = alternatives(field_types(kind).get(name))
    return any(isinstance(one, type) and issubclass(one, Stage) for one in members)


def as_typed(value: Any) -> str:
    """The text that stands for a value after ``name=``: ``1e-05``, ``true``, ``none``, ``k1``, ``PPO``,
    ``[64, 64]``.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, SourceFile):
        return value.path
    if isinstance(value, types.FunctionType | type):
        return typed(value) or value.__name__
    if is_dataclass(value):
        function = getattr(value, "function", None)
        return as_typed(function) if function is not None else as_typed(type(value))
    if isinstance(value, tuple | list):
        plain = [item if isinstance(item, bool | int | float | str) else as_typed(item) for item in value]
        return json.dumps(plain, ensure_ascii=False)
    return str(value)
