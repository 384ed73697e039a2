"""What is called otherwise in the older of two checkouts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Renames:
    """Tables from a name in OLD to the name in NEW. A name in no table is the same in both.

    A name may have one ``*``, which stands for the same text on both sides (``parts/*`` to ``reward/*``); a
    name that stands there whole comes before one with ``*``. ``metrics`` are names in made.json and in logs,
    ``files`` those in a product, ``columns`` keys of rows, ``addresses`` stages without the number of a round
    (``rl``), ``settings`` what is written before the ``=`` of a setting. ``only_old`` and ``only_new`` are
    metrics, columns and files that one side alone may have, by their names there, with ``*`` as well.
    """

    metrics: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    only_old: Sequence[str] = ()
    only_new: Sequence[str] = ()

    @classmethod
    def load(cls, path: Path) -> Renames:
        """Raises ValueError where the file is no JSON object of these tables."""
        try:
            tables = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
        if not isinstance(tables, dict):
            raise ValueError(f"{path}: expected an object of tables")
        names = {item.name for item in fields(cls)}
        if strange := sorted(set(tables) - names):
            raise ValueError(f"{path}: {', '.join(strange)}: expected of {', '.join(sorted(names))}")
        for name, table in tables.items():
            expected = list if name.startswith("only_") else dict
            values = table.values() if isinstance(table, dict) else table
            if not isinstance(table, expected) or not all(isinstance(value, str) for value in values):
                kind = "a list of names" if expected is list else "an object of names"
                raise ValueError(f"{path}: {name}: expected {kind}")
        return cls(**tables)


def renamed(name: str, table: Mapping[str, str]) -> str:
    """The name in NEW of a name in OLD."""
    if name in table:
        return table[name]
    for old, new in table.items():
        head, star, tail = old.partition("*")
        if star and _fits(name, head, tail):
            return new.replace("*", name[len(head) : len(name) - len(tail)], 1)
    return name


def listed(name: str, names: Sequence[str]) -> bool:
    """Whether a name is among the names, of which some have a ``*``."""
    return renamed(name, dict.fromkeys(names, "")) == ""


def before(name: str, table: Mapping[str, str]) -> str:
    """The name in OLD of a name in NEW."""
    return renamed(name, {new: old for old, new in table.items()})


def address(name: str, table: Mapping[str, str]) -> str:
    """The address in NEW; the number of a round (``rl[2]``) stays."""
    stage, bracket, number = name.partition("[")
    return renamed(stage, table) + bracket + number


def _fits(name: str, head: str, tail: str) -> bool:
    return len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail)
