"""Overrides as they are written: on the command line, or in a YAML file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from posttrain.pipeline.files import check_regular
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.values import Override

LARGEST_FILE = 10_000_000  # bytes of settings
DEEPEST_FILE, MOST_SETTINGS, BRACKETS = 16, 10_000, 100


def parse(arguments: Iterable[str]) -> list[Override]:
    """``["rl.method=ppo"]``. Raises UserError where there is no ``=`` or no name, or a name comes twice."""
    overrides: list[Override] = []
    given: dict[str, str] = {}
    for argument in arguments:
        path, equals, text = argument.partition("=")
        if not equals or not path.strip():
            raise UserError(f"{argument}: expected name=value, such as seed=1 or rl.learning_rate=1e-5")
        name = path.strip()
        if name in given:
            raise UserError(f"{argument}: {name} is set twice, first by {given[name]}; keep one")
        given[name] = argument
        overrides.append(Override(name, text.strip()))
    return overrides


def from_yaml(path: Path) -> list[Override]:
    """Overrides of a file, nested or dotted; every value stays text until its declared type is known, so that
    ``1e-5`` is a number and ``no`` is what the setting makes of it. Raises UserError as file:line:column.
    """
    import yaml

    try:
        check_regular(path)
        if path.stat().st_size > LARGEST_FILE:
            limit = f"{LARGEST_FILE // 1_000_000} MB"
            raise UserError(f"{path}: more than {limit}; expected lines such as `seed: 1`")
        text = path.read_text(encoding="utf-8-sig")
        if _open_brackets(text) > BRACKETS:  # which PyYAML takes minutes to find wrong
            raise UserError(f"{path}: more than {BRACKETS} brackets are open; settings have a few levels")
        root = yaml.compose(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deep; settings have a few levels") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        hint = "; indent with spaces, not tabs" if "\\t" in str(error) else ""
        raise UserError(f"{path}{where}: {getattr(error, 'problem', error)}{hint}") from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:1:1: expected lines such as `seed: 1`, found no names")
    walk = _Walk(path, yaml.MappingNode, yaml.ScalarNode)
    if root is not None:
        walk.into(root, "", 0)
    return walk.overrides


def _open_brackets(text: str) -> int:
    """The most that are open at a place, those in quotes too."""
    most = open_now = 0
    for mark in re.findall(r"[\[\]{}]", text):
        open_now = open_now + 1 if mark in "[{" else max(open_now - 1, 0)
        most = max(most, open_now)
    return most


class _Walk:
    """Down a YAML file's nodes, of which one may stand in many places by an alias, also inside itself."""

    def __init__(self, path: Path, mapping: Any, scalar: Any) -> None:
        self.overrides: list[Override] = []
        self._path, self._mapping, self._scalar = path, mapping, scalar
        self._lines: dict[str, int] = {}
        self._visited = 0

    def into(self, node: Any, prefix: str, depth: int) -> None:
        where = self._at(node)
        if depth > DEEPEST_FILE:
            raise UserError(f"{where}: more than {DEEPEST_FILE} levels deep, or an alias of itself")
        self._visited += 1  # an alias of an empty mapping adds no setting, and yet takes its time
        if self._visited > MOST_SETTINGS:
            raise UserError(f"{where}: more than {MOST_SETTINGS} settings; aliases of aliases?")
        if isinstance(node, self._mapping):
            return self._mapped(node, prefix, depth)
        if prefix in self._lines:  # once nested and once dotted
            raise UserError(f"{where}: {prefix} is set twice, first in line {self._lines[prefix]}; keep one")
        self._lines[prefix] = node.start_mark.line + 1
        if isinstance(node, self._scalar):
            self.overrides.append(Override(prefix, node.value, where))
        else:
            if not all(isinstance(item, self._scalar) for item in node.value):
                raise UserError(f"{where}: {prefix} is a list of more than plain values")
            self.overrides.append(Override(prefix, json.dumps([item.value for item in node.value]), where))
        return None

    def _mapped(self, node: Any, prefix: str, depth: int) -> None:
        names: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, self._scalar):
                raise UserError(f"{self._at(key)}: expected a name such as `seed`, found a list or a mapping")
            if key.value in names:
                raise UserError(f"{self._at(key)}: {key.value} is set twice; keep one")
            names.add(key.value)
            self.into(value, f"{prefix}.{key.value}" if prefix else key.value, depth + 1)

    def _at(self, node: Any) -> str:
        return f"{self._path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
