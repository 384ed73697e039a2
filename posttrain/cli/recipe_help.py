"""What ``posttrain run RECIPE --help`` prints: a recipe's parameters, its stages and their settings."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin

from posttrain import settings
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import LABELS, Stage, addresses


def recipe_help(recipe: Callable[..., Stage], name: str, expression: Stage) -> str:
    """What can be said after a recipe's name: its parameters, then every stage with its settings."""
    module = sys.modules[recipe.__module__]
    lines = [
        f"posttrain run {name} [NAME=VALUE ...]",
        "",
        inspect.getdoc(recipe) or inspect.getdoc(module) or "",
        "",
    ]
    lines.append("Parameters:")
    lines += [
        f"  {parameter}={'' if default is None else default}".ljust(34) + _type_name(declared)
        for parameter, (declared, default) in settings.parameters(recipe).items()
    ]
    lines += [
        "",
        "Stages in the order of making (ADDRESS=DIR puts a finished product there), and their settings:",
    ]
    for address, stage in addresses(expression).items():
        summary = (inspect.getdoc(type(stage)) or "").split("\n\n")[0].replace("\n", " ")
        lines += ["", f"  {address}  ({type(stage).__name__})  {summary}"]
        lines += [f"    {address}.{setting}" for setting in _settings(stage)]
    return "\n".join(lines)


def _type_name(declared: Any) -> str:
    if get_origin(declared) is Literal:
        return " or ".join(str(option) for option in get_args(declared) if option != "")
    return getattr(declared, "__name__", str(declared)) if declared else ""


def _settings(value: Any, prefix: str = "") -> list[str]:
    """``name=value`` of what can be set, objects with their own fields below them, inputs left out."""
    lines = []
    for item in fields(value):
        inner = getattr(value, item.name)
        if isinstance(inner, Stage) or (isinstance(value, Stage) and item.name in LABELS) or not item.init:
            continue
        if isinstance(inner, SourceFile):
            lines.append(f"{prefix}{item.name}={inner.path}")
        elif is_dataclass(inner) and not isinstance(inner, type):
            lines += [
                f"{prefix}{item.name}={type(inner).__name__}",
                *_settings(inner, f"{prefix}{item.name}."),
            ]
        elif not isinstance(inner, tuple | list | dict) or not any(map(is_dataclass, inner)):
            lines.append(f"{prefix}{item.name}={'none' if inner is None else inner}")
    return lines
