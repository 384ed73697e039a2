"""What a product depends on, as one hash: classes, versions, settings as their declared types, and inputs."""

from __future__ import annotations

import enum
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from posttrain.pipeline import outside
from posttrain.pipeline.files import expanded, hash_text
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile, finished_identity
from posttrain.pipeline.stage import LABELS, Stage
from posttrain.pipeline.store import Workspace

PACKAGE = __name__.partition(".")[0]
Function = TypeVar("Function", bound=Callable[..., Any])


class Fingerprints:
    """Computes a stage's fingerprint once, however often it is nested."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[int, tuple[Stage, str]] = {}

    def of(self, stage: Stage) -> str:
        """64 hexadecimal digits. Raises UserError for a setting that has no stable description, such as a
        lambda.
        """
        if id(stage) not in self._known:
            if isinstance(stage, Finished):
                text = finished_identity(stage.path, self._workspace)
            else:
                text = json.dumps(self._object(stage), sort_keys=True)
            self._known[id(stage)] = (stage, hash_text(text))
        return self._known[id(stage)][1]

    def _object(self, value: Any) -> dict[str, Any]:
        kind = type(value)
        declared = field_types(kind)
        settings = {
            item.name: self._value(as_declared(getattr(value, item.name), declared.get(item.name)), item.name)
            for item in fields(value)
            if not (isinstance(value, Stage) and item.name in LABELS)
            and not item.metadata.get("judging")
            and not (item.metadata.get("later") and getattr(value, item.name) == item.default)
        }
        return {"class": self._code(kind), "version": getattr(kind, "version", None), "settings": settings}

    def _value(self, value: Any, path: str) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return {"float": value.hex()}
        if isinstance(value, Stage):
            return {"stage": self.of(value)}
        if isinstance(value, SourceFile):
            return {"source": value.identity(self._workspace)}
        if is_dataclass(value) and not isinstance(value, type):
            return self._object(value)
        if isinstance(value, tuple | list):
            return [self._value(element, f"{path}[{index}]") for index, element in enumerate(value, start=1)]
        if isinstance(value, dict):
            return {
                "dict": {str(key): self._value(element, f"{path}.{key}") for key, element in value.items()}
            }
        if isinstance(value, enum.Enum):
            return [self._code(type(value)), value.name]
        if isinstance(value, Path):
            return {"path": str(value)}
        if isinstance(value, type | types.FunctionType):
            return self._code(value)
        raise UserError(
            f"{path}: a {type(value).__name__} in a setting; use numbers, text, dataclasses or SourceFile"
        )

    def _code(self, value: type | types.FunctionType) -> list[str]:
        """A class or function by name; one from outside the package also by the file it is in."""
        if "<" in value.__qualname__ and isinstance(value, types.FunctionType):
            raise UserError(
                f"{value.__module__}: {value.__qualname__} has no lasting name; define it with def in a file"
            )
        name = recorded_name(value)
        if value.__module__.partition(".")[0] in (PACKAGE, "builtins"):
            return name
        try:
            source = inspect.getsourcefile(value)
        except TypeError:
            source = None
        # The module of a user's recipe is named after its path, which is no part of what it computes.
        if not source or not Path(source).exists():
            return name
        return [name[1], outside.identity(Path(source).resolve(), self._workspace.hash_file)]


def recorded_as(name: str) -> Callable[[Function], Function]:
    """Decorates a function that was renamed or moved with the ``module:name`` that fingerprints record."""

    def mark(function: Function) -> Function:
        vars(function)["recorded_as"] = name
        return function

    return mark


def recorded_name(value: type | types.FunctionType) -> list[str]:
    """Module and name by which fingerprints record a class or function.

    One that was renamed or moved keeps its first ones, a class in its attribute ``recorded_as =
    "module:Name"`` and a function by the decorator ``recorded_as``, so that existing products stay current. A
    subclass does not inherit them.
    """
    recorded = vars(value).get("recorded_as", f"{value.__module__}:{value.__qualname__}")
    return str(recorded).split(":")


class Finished(Stage):
    """A finished product in a stage's place: ``sft=DIR``. Known by content, never made again."""

    address = "finished"
    path: str

    def __init__(self, path: str, name: str) -> None:
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "name", name)

    @property
    def directory(self) -> Path:
        return expanded(self.path)

    def model(self) -> Path | None:
        return self.directory


def is_directory(path: str, name: str) -> bool:
    """Whether a user's value for ``name`` is one. Raises UserError where it is no path at all."""
    try:
        return expanded(path).is_dir()
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def finished(path: str, name: str) -> Finished:
    """The product in a directory that a user named. Raises UserError where it is none."""
    if not path:  # it would be the current directory
        raise UserError(f"{name} is a stage, and no directory is named after the equals sign")
    if not is_directory(path, name):
        source = SourceFile(path)
        fetched = f"; `hf download {path} --local-dir DIR` makes one of a model on the hub"
        raise UserError(
            f"{name} is a stage, so the value must be the directory of a finished product, and {path} is none"
            + (fetched if source.local is None and source.hub_name else "")
        )
    return Finished(path, name)


def field_types(kind: type) -> Mapping[str, Any]:
    """Declared type of every field; a name that only a type checker sees is left out."""
    return _field_types(kind)  # type: ignore[arg-type]  # a type is hashable


@cache
def _field_types(kind: type) -> Mapping[str, Any]:
    by_name: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        module = inspect.getmodule(owner)
        for name, annotation in inspect.get_annotations(owner).items():
            try:
                space = {**vars(typing), **(vars(module) if module else {})}
                by_name[name] = eval(annotation, space) if isinstance(annotation, str) else annotation
            except (NameError, AttributeError, TypeError, SyntaxError):  # known to type checkers only
                by_name.pop(name, None)
    return types.MappingProxyType(by_name)


def alternatives(declared: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself; without what annotates them."""
    if typing.get_origin(declared) is typing.Annotated:
        return alternatives(typing.get_args(declared)[0])
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        return tuple(member for part in typing.get_args(declared) for member in alternatives(part))
    return (declared,)


def as_declared(value: Any, declared: Any) -> Any:
    """An int where a float is declared is that float, so that 1 and 1.0 are one setting."""
    kinds = alternatives(declared)
    if type(value) is int and float in kinds and int not in kinds:
        return float(value)
    return value


def described(value: Any, address_of: dict[int, str]) -> Any:
    """A setting for made.json and people: nested stages by address, sources by path, dataclasses with their
    class.
    """
    if isinstance(value, Stage):
        return {"stage": address_of.get(id(value), value.name)}
    if isinstance(value, SourceFile):
        return value.path
    if is_dataclass(value) and not isinstance(value, type):
        inner = {item.name: described(getattr(value, item.name), address_of) for item in fields(value)}
        return {"class": type(value).__name__, **inner}
    if isinstance(value, tuple | list):
        return [described(element, address_of) for element in value]
    if isinstance(value, dict):
        return {str(key): described(element, address_of) for key, element in value.items()}
    if isinstance(value, type | types.FunctionType):
        return value.__qualname__
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
