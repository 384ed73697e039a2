"""The facts of the embedded world: about 300 entities of four kinds with five attributes each.

The world is closed: for an entity and an attribute, the accepted values are the true ones, and every other
value of that attribute's vocabulary is false. The rows live in `entities.jsonl` beside this file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

Form = Literal["count", "mass", "proper"]
Kind = Literal["animal", "food", "place", "thing"]
Split = Literal["train", "heldout"]

HELDOUT_SHARE = 0.2

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "animal": ("class", "eats", "lives", "colour", "moves"),
    "food": ("class", "colour", "taste", "comes", "used"),
    "place": ("class", "lies", "language", "known", "weather"),
    "thing": ("class", "made", "found", "used", "shape"),
}


@dataclass(frozen=True)
class Entity:
    """One entry of the pocket reference; two entities are equal when their names are.

    `facts` maps each of the kind's five attributes (`class` among them) to its true values, canonical first.
    `plural` equals `name` for the forms "mass" (rice) and "proper" (Paris). A held-out entity occurs in
    pretraining text only, never in chat training.
    """

    name: str
    plural: str = field(compare=False)
    form: Form = field(compare=False)
    kind: Kind = field(compare=False)
    klass: str = field(compare=False)
    facts: Mapping[str, tuple[str, ...]] = field(compare=False)
    heldout: bool = field(compare=False)


@dataclass(frozen=True)
class HowTo:
    """A task that completes "How do I ...?" and its steps, short phrases that start with a capital."""

    task: str
    steps: tuple[str, ...]
    heldout: bool


@dataclass(frozen=True)
class Feeling:
    """A situation told in the first person, the feeling it tells, the word a warm answer names, advice."""

    situation: str
    feeling: str
    named: str
    advice: tuple[str, ...]
    heldout: bool


@cache
def entities() -> tuple[Entity, ...]:
    """Every entity, in the order of the file."""
    rows = _rows("entities.jsonl")
    kept_out = {name for kind in ATTRIBUTES for name in _heldout_names(rows, kind)}
    return tuple(_entity(row, row["name"] in kept_out) for row in rows)


@cache
def vocabulary(kind: str, attribute: str) -> tuple[str, ...]:
    """Every value the attribute takes in entities of the kind, sorted: the closed world of its answers."""
    return tuple(sorted({value for entity in of_kind(kind) for value in entity.facts[attribute]}))


@cache
def of_kind(kind: str) -> tuple[Entity, ...]:
    """The entities of one kind, in the order of the file."""
    return tuple(entity for entity in entities() if entity.kind == kind)


def accepted(entity: Entity, attribute: str) -> tuple[str, ...]:
    """The true values, canonical first. Raises KeyError where the entity's kind lacks the attribute."""
    return entity.facts[attribute]


def refuted(entity: Entity, attribute: str) -> tuple[str, ...]:
    """The attribute's values that are false of this entity."""
    true = entity.facts[attribute]
    return tuple(value for value in vocabulary(entity.kind, attribute) if value not in true)


def invented_names(split: Split) -> tuple[str, ...]:
    """Count nouns that sound like English but name nothing; the plural adds an s."""
    return _INVENTED[split]


@cache
def how_tos() -> tuple[HowTo, ...]:
    """Everyday tasks with their steps."""
    return tuple(
        HowTo(row["task"], tuple(row["steps"]), row.get("heldout", False)) for row in _rows("how_tos.jsonl")
    )


@cache
def feelings() -> tuple[Feeling, ...]:
    """Everyday situations with the feeling they carry."""
    return tuple(
        Feeling(
            row["situation"], row["feeling"], row["named"], tuple(row["advice"]), row.get("heldout", False)
        )
        for row in _rows("feelings.jsonl")
    )


def _rows(file: str) -> list[dict[str, Any]]:
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def _entity(row: dict[str, Any], heldout: bool) -> Entity:
    facts = {"class": (row["class"],)} | {key: tuple(values) for key, values in row["facts"].items()}
    return Entity(
        name=row["name"],
        plural=row["plural"],
        form=row["form"],
        kind=row["kind"],
        klass=row["class"],
        facts=MappingProxyType(facts),
        heldout=heldout,
    )


def _heldout_names(rows: list[dict[str, Any]], kind: str) -> list[str]:
    # Ordered by a hash of the name: the choice depends neither on the file's order nor on Python's seed.
    names = [row["name"] for row in rows if row["kind"] == kind]
    names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return names[: round(len(names) * HELDOUT_SHARE)]


_TRAIN_NAMES = (
    "zorp blimmet quaddle frindle snorvel plimbo torvel glabbit murzle dranket "
    "wimbret cloffer jorrick yarvel skromp trundick bavoot felnar gribbock hosspin "
    "klemmer lorvin nabbet ockrel prannit quizzock ruvvet slennock tibboran umbrick "
    "vorlet wabbin yimmel zandrick broffle crimmock dwendle flarnet glunter hembrit "
    "jarvock krimble lunnock mivvet norbit plunket quorbel rastle smerrin thrubble "
    "vimmock worble yonket zibbet brandock corvip delmock fronnel gavvet hurnop"
)

_HELDOUT_NAMES = (
    "blorfin cravvel dorbit grendock flimmet hibbock jelvan kobbin lanver marvock "
    "nimbrel orvick pobbel quenshaw runnock sarbit toffrel ulvick vennip wozzle "
    "yabbock zemlin brimmock clavvet drimble fusket glimber hovvel jorbin krannet"
)

_INVENTED: dict[Split, tuple[str, ...]] = {
    "train": tuple(_TRAIN_NAMES.split()),
    "heldout": tuple(_HELDOUT_NAMES.split()),
}
