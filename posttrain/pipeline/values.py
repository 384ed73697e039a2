"""Text becomes a value of the declared type, or a sentence that says what was expected."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import math
import pkgutil
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import alternatives
from posttrain.pipeline.outside import is_outside, outside
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage

LONGEST = 200  # characters of a value that are shown
SHARED = ("base",)  # the file of a folder that holds what its other files share, and no choice
NONE, TRUE, FALSE = ("none", "null", "~", ""), ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Override:
    """One wish: where it applies, its text, and where it was written (file:line:column, or empty)."""

    path: str
    text: str
    written: str = ""

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= LONGEST else f"{self.text[:LONGEST]}..."
        return f"{self.written + ': ' if self.written else ''}{self.path}={shown}"


def coerced(wish: Override, declared: Any, current: Any) -> Any:
    """The text as its declared type; a class where it names one. Raises UserError naming what was
    expected.
    """
    kinds = alternatives(declared) if declared not in (None, Any) else (type(current),)
    text = wish.text
    if types.NoneType in kinds and text.lower() in NONE:
        return None
    for kind in kinds:
        if typing.get_origin(kind) is typing.Literal and text in map(str, typing.get_args(kind)):
            return next(option for option in typing.get_args(kind) if str(option) == text)
        if typing.get_origin(kind) in (tuple, list) or kind in (tuple, list):
            return _several(wish, kind, current)
        if kind is bool and text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        if kind in (int, float):
            number = _number(wish)
            if number is not None and (kind is float or float(number).is_integer()):
                return kind(number)
        if kind is SourceFile:
            return SourceFile(text, current.kind) if isinstance(current, SourceFile) else SourceFile(text)
        if kind in (str, Path):
            return kind(text)
    if isinstance(current, types.FunctionType):
        return _function(wish, current)
    if any(isinstance(kind, type) and issubclass(kind, Stage) for kind in kinds):
        raise UserError(
            f"{wish}: a stage is expected here; put a product in its place by its address, sft=DIR"
        )
    if is_dataclass(current) or any(inspect.isclass(kind) and _is_object(kind) for kind in kinds):
        return named_class(wish, kinds, current)
    raise UserError(f"{wish}: expected {' or '.join(_expected(kind) for kind in kinds)}")


def named_class(wish: Override, kinds: tuple[Any, ...], current: Any) -> Any:
    """The class that a name stands for: one declared, one beside the present value, a file in its folder, or
    one of the user's own file, ``./mine.py:Name``, of which a function may stand for an object as well.
    """
    if is_outside(wish.text):
        return _from_outside(wish, kinds, current)
    choices: dict[str, type] = {
        _plain(k.__name__): k for k in kinds if is_dataclass(k) and isinstance(k, type)
    }
    folder = ""
    for kind in [type(current)] if is_dataclass(current) else [k for k in kinds if inspect.isclass(k)]:
        module = importlib.import_module(kind.__module__)
        choices |= {_plain(name): member for name, member in _classes(module).items()}
        folder = kind.__module__.rpartition(".")[0]
    wanted = _plain(wish.text)
    if wanted in choices:
        return choices[wanted]
    package = importlib.import_module(folder) if folder else None
    modules = [item.name for item in pkgutil.iter_modules(getattr(package, "__path__", []))]
    files = [name for name in modules if name not in SHARED and not name.startswith("_")]
    if wish.text in files and len(fitting := _offered(folder, wish.text, kinds)) == 1:
        return fitting[0]
    fitted = {name for name in files if len(_offered(folder, name, kinds)) == 1}
    options = {kind.__name__ for kind in choices.values()} | fitted
    raise UserError(f"{wish}: no such choice{nearest(wish.text, options)}")


def _from_outside(wish: Override, kinds: tuple[Any, ...], current: Any) -> Any:
    """A class of the user's own file, or an object that the folder of the declared kinds makes of a function
    (``of_function`` in its file ``_function``).
    """
    chosen = outside(wish.text)
    objects = [kind for kind in kinds if inspect.isclass(kind) and _is_object(kind)]
    expected = " or ".join(kind.__name__ for kind in objects) or type(current).__name__
    if inspect.isfunction(chosen):
        for folder in {kind.__module__.rpartition(".")[0] for kind in objects or [type(current)]}:
            if folder and importlib.util.find_spec(f"{folder}._function"):
                return importlib.import_module(f"{folder}._function").of_function(chosen)
        raise UserError(f"{wish}: {chosen.__name__} is a function, expected a class that is a {expected}")
    if not isinstance(chosen, type) or not is_dataclass(chosen):
        raise UserError(f"{wish}: expected a dataclass; write @dataclass(frozen=True, kw_only=True) above it")
    if objects and not any(_does(chosen, kind) for kind in objects):
        missing = ", ".join(dict.fromkeys(name for kind in objects for name in _lacking(chosen, kind)))
        raise UserError(f"{wish}: {chosen.__name__} is no {expected}; it lacks {missing or 'its base class'}")
    return chosen


def _lacking(chosen: type, kind: Any) -> list[str]:
    """What a protocol and those it extends declare and a class has not."""
    has = {name for base in chosen.__mro__ for name in (*vars(base), *inspect.get_annotations(base))}
    declared = [base for base in kind.__mro__ if getattr(base, "_is_protocol", False)]
    names = [name for base in declared for name in (*vars(base), *inspect.get_annotations(base))]
    return [name for name in dict.fromkeys(names) if not name.startswith("_") and name not in has]


def _offered(folder: str, file: str, kinds: tuple[Any, ...]) -> list[type]:
    """The classes of a file that its name may stand for: of that name, or else of one of those kinds, where
    one of these is a protocol.
    """
    classes = _classes(importlib.import_module(f"{folder}.{file}"))
    named = [one for name, one in classes.items() if _plain(name) == _plain(file)]
    objects = [kind for kind in kinds if inspect.isclass(kind) and _is_object(kind)]
    asks = any(getattr(kind, "_is_protocol", False) for kind in objects)
    fitting = [one for one in classes.values() if not asks or any(_does(one, kind) for kind in objects)]
    return named or fitting


def _function(wish: Override, current: types.FunctionType) -> types.FunctionType:
    """The function of that name beside the present one, or of the user's own file, that takes the same
    arguments.
    """
    takes = list(inspect.signature(current).parameters)
    if is_outside(wish.text):
        chosen = outside(wish.text)
        if not inspect.isfunction(chosen) or len(inspect.signature(chosen).parameters) != len(takes):
            raise UserError(f"{wish}: expected a function of ({', '.join(takes)})")
        return chosen
    choices = {
        name: function
        for name, function in vars(importlib.import_module(current.__module__)).items()
        if isinstance(function, types.FunctionType) and list(inspect.signature(function).parameters) == takes
    }
    if wish.text not in choices:
        raise UserError(f"{wish}: no such choice{nearest(wish.text, choices)}")
    return choices[wish.text]


def nearest(name: str, options: Iterable[str]) -> str:
    """``; did you mean ...?`` where one is close, and what there is."""
    names = sorted(set(options))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return (f"; did you mean {close[0]}?" if close else ";") + f" There is: {', '.join(names) or 'nothing'}"


def _several(wish: Override, kind: Any, current: Any) -> Any:
    inside = wish.text.strip().removeprefix("[").removesuffix("]").removeprefix("(").removesuffix(")")
    try:
        items = [str(item) for item in json.loads(wish.text)]
    except (ValueError, TypeError, RecursionError):
        items = [item.strip().strip("\"'") for item in inside.split(",") if item.strip()]
    members = [member for member in typing.get_args(kind) if member is not ...]
    example = current[0] if current else ""
    values = [
        coerced(Override(wish.path, item, wish.written), members[0] if members else None, example)
        for item in items
    ]
    return (typing.get_origin(kind) or kind)(values)


def _number(wish: Override) -> float | None:
    try:
        number = float(wish.text)
    except ValueError:
        return None
    if math.isnan(number):
        raise UserError(f"{wish}: not a number; give one that can be compared")
    if math.isinf(number):
        return number
    try:
        return int(wish.text)  # exact where it is whole, however large
    except ValueError:
        return number if number != int(number) else int(number)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _classes(module: Any) -> dict[str, type]:
    return {
        n: c
        for n, c in vars(module).items()
        if isinstance(c, type) and is_dataclass(c) and c.__module__ == module.__name__
    }


def _does(chosen: type, kind: Any) -> bool:
    """Whether a class has what a protocol and those it extends declare: methods as functions, the others as
    a field, a property or a value. For another kind, whether it is of that class.
    """
    if not getattr(kind, "_is_protocol", False):
        return issubclass(chosen, kind)
    has = {name for base in chosen.__mro__ for name in (*vars(base), *inspect.get_annotations(base))}
    for base in (base for base in kind.__mro__ if getattr(base, "_is_protocol", False)):
        for name in {*vars(base), *inspect.get_annotations(base)}:
            method = inspect.isfunction(vars(base).get(name))
            if name.startswith("_"):
                continue
            if name not in has or (method and not callable(getattr(chosen, name, None))):
                return False
    return True


def _is_object(kind: Any) -> bool:
    return is_dataclass(kind) or getattr(kind, "_is_protocol", False)


def _expected(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(map(str, typing.get_args(kind)))
    plain = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        types.NoneType: "none",
        str: "text",
    }
    return plain.get(kind, getattr(kind, "__name__", str(kind)))
