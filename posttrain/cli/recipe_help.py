"""What ``posttrain run RECIPE --help`` prints: a recipe's parameters, its stages and their settings."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from posttrain import settings
from posttrain.pipeline.stage import Stage, addresses
from posttrain.settings.listing import as_typed, settings_of
from posttrain.settings.sentences import parameter_sentences, without_parameters

WIDTH = 110
COLUMN = 38  # where a sentence begins


def recipe_help(recipe: Callable[..., Stage], name: str, expression: Stage) -> str:
    """What can be said after a recipe's name: its parameters, then every stage with its settings, each as a
    user would type it and with its sentence.
    """
    module = sys.modules[recipe.__module__]
    about = without_parameters(inspect.getdoc(recipe) or inspect.getdoc(module) or "")
    lines = [f"posttrain run {name} [NAME=VALUE ...]", "", about, "", "Parameters:"]
    sentences = parameter_sentences(recipe)
    for parameter, (declared, default) in settings.parameters(recipe).items():
        text = f"{parameter}={'' if default is None else as_typed(default)}"
        kind = "" if declared is str else f"({_type_name(declared)})"
        lines += _explained(f"  {text}", f"{sentences.get(parameter, '')} {kind}".strip())
    lines += [
        "",
        "Stages in the order of making (ADDRESS=DIR puts a finished product there), and their settings:",
    ]
    for address, stage in addresses(expression).items():
        summary = (inspect.getdoc(type(stage)) or "").split("\n\n")[0].replace("\n", " ")
        head = f"{address}  ({type(stage).__name__})  {_plain(summary)}"
        lines += ["", *textwrap.wrap(head, WIDTH, initial_indent="  ", subsequent_indent="      ")]
        for setting in settings_of(stage):
            lines += _explained(f"    {address}.{setting}", setting.sentence)
    return "\n".join(lines)


def _explained(text: str, sentence: str) -> list[str]:
    """The text with its sentence beside it; below it where the text is long."""
    if not sentence:
        return [text]
    explained = textwrap.wrap(_plain(sentence), WIDTH - COLUMN, break_on_hyphens=False)
    if len(text) + 2 > COLUMN:
        return [text, *(" " * COLUMN + line for line in explained)]
    return [text.ljust(COLUMN) + explained[0], *(" " * COLUMN + line for line in explained[1:])]


def _plain(text: str) -> str:
    """Without the marks that docstrings put around code."""
    return text.replace("``", "")


def _type_name(declared: Any) -> str:
    if get_origin(declared) is Literal:
        return " or ".join(str(option) for option in get_args(declared) if option != "")
    return getattr(declared, "__name__", str(declared)) if declared else ""
