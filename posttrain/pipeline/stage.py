"""A stage is a frozen dataclass whose fields are its settings and its inputs; a recipe is one expression of
stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from posttrain.pipeline.fields import (
    ALIGNMENT,
    LABELS,
    REINFORCEMENT,
    SAMPLES,
    SCALAR,
    Compute,
    HeldIn,
    judging,
    later,
)
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.machine import Machine, Work
from posttrain.pipeline.numbers import misses
from posttrain.pipeline.stage_report import Report
from posttrain.pipeline.store import Product

Stages = TypeVar("Stages")  # an expression, or a record of stages: a dataclass whose fields hold them

__all__ = ["ALIGNMENT", "LABELS", "REINFORCEMENT", "SAMPLES", "SCALAR", "Compute", "HeldIn", "Inputs"]
__all__ += ["Machine", "Product", "Report", "Stage", "Work", "addresses", "judging", "later", "making_order"]
__all__ += ["nested", "rewrite"]


class Inputs(Mapping[str, Any]):
    """The products of a stage's inputs.

    ``inputs["policy"]`` is the Product of that field, a tuple of Products where the field is a tuple of
    stages; a stage inside another value has a dotted path, ``inputs["reward.model"]``.
    ``inputs.of(self.policy)`` finds the same by the stage itself. An input that is None has no entry.
    """

    def __init__(self, by_path: Mapping[str, Any], by_stage: Mapping[int, Product] | None = None) -> None:
        self._by_path = dict(by_path)
        self._by_stage = dict(by_stage or {})

    @classmethod
    def gather(cls, stage: Stage, product: Callable[[Stage], Product | None]) -> Inputs:
        """Every nested stage's product, less those for which ``product`` returns None (not made yet)."""
        children = [(path, child, product(child)) for path, child in nested(stage)]
        by_path: dict[str, Any] = {path: made for path, _, made in children if made is not None}
        for path, _, made in children:
            whole, bracket, _ = path.partition("[")
            if bracket and made is not None:
                by_path[whole] = (*by_path.get(whole, ()), made)
        return cls(by_path, {id(child): made for _, child, made in children if made is not None})

    def of(self, stage: Stage) -> Product:
        return self._by_stage[id(stage)]

    def has(self, stage: Stage) -> bool:
        """Whether the stage's product is there; for estimates, before it is made."""
        return id(stage) in self._by_stage

    def __getitem__(self, path: str) -> Any:
        return self._by_path[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_path)

    def __len__(self) -> int:
        return len(self._by_path)


_ABSENT = object()
PLAIN = (str, int, float, type, type(None))  # what holds no stage, and is met often


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Products in, product out. Subclass as ``@dataclass(frozen=True, kw_only=True)``.

    ``address`` names it on the command line, ``version`` is raised when its code gives other results for the
    same settings. A recipe may give another ``name``, and say which stage a control ``follows``, by the name
    of that one; neither counts in the fingerprint. Heavy imports happen in ``run``. A number among the
    settings, or in a tuple of them, is finite and not negative, above 0 where ``positive`` names it, and at
    least what ``at_least`` says; anything else raises UserError before a stage has begun.
    """

    address: ClassVar[str] = ""
    reads_gold: ClassVar[bool] = False  # its module may reach the gold answers that no training may see
    version: ClassVar[int] = 1
    role: ClassVar[str] = ""  # REINFORCEMENT or ALIGNMENT
    does: ClassVar[str] = ""  # in a few words; empty: the name of the class
    positive: ClassVar[tuple[str, ...]] = ()
    at_least: ClassVar[Mapping[str, int]] = {}
    amounts: ClassVar[tuple[tuple[str, str], ...]] = ()  # fields that say how large its work is, in words
    name: str = ""
    """The address in this recipe, where it is not the class's own; not part of the product's identity."""
    follows: str = field(default="", compare=False)
    """The name of the stage that this one is a control of: it takes over what is set there."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            above, least = item.name in self.positive, self.at_least.get(item.name, 0)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int | float) and (expected := misses(number, above, least)):
                    raise UserError(f"{item.name} is {value}, expected {expected}")

    def following(self, was: Stage, now: Stage) -> Self:
        """This control of a stage as it ``was``, as one of that stage as it is ``now``: what was the same in
        both is the same again.
        """
        changed = {
            item.name: getattr(now, item.name)
            for item in fields(now)
            if getattr(now, item.name) != getattr(was, item.name)
            and getattr(self, item.name, _ABSENT) == getattr(was, item.name)
        }
        return replace(self, **changed) if changed else self

    def summary(self) -> str:
        """What it does, in a few words, for drawings and reports."""
        return self.does

    def effective(self) -> Self:
        """The stage as it works: with the values that follow from other settings in the place of those that
        were set. made.json records them beside the settings.
        """
        return self

    def size(self) -> str:
        """How large its work is, in words: ``6,000 rows``, ``45 steps, 192 prompts a step``."""
        stage, words = self.effective(), []
        for name, text in self.amounts:
            value = getattr(stage, name)
            if isinstance(value, int) and value > 1:  # once over the rows, one answer each: not worth a word
                words.append(text.format(f"{value:,}"))
        return ", ".join(words)

    @property
    def sampled(self) -> int:
        """Answers that it samples and learns from; 0 where it learns from rows, or not at all."""
        return 0

    def replaceable(self, path: Path) -> None:
        """Raises UserError where a finished product, or a model from outside, may not stand in this stage's
        place.
        """

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        """What would make the work meaningless, looked at before the first step."""
        return []

    def model(self) -> Path | None:
        """The directory of a model that is there before this stage has passed it on."""
        return None

    @property
    def needs(self) -> tuple[str, ...]:
        """What it does with a model that not every family can: ``SAMPLES``, ``SCALAR``."""
        return ()

    def fits(self, model: Path) -> list[Finding]:
        """Whether settings suit a model that the stage grows from, directly or not; looked at as soon as that
        model is there, before anything is made of it.
        """
        return []

    def usable(self, model: Path) -> None:
        """Raises UserError where a model that a user gave in the place of an input cannot be loaded; looked
        at before anything is made.
        """

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        """What the ``inputs`` that are there already say, before the first stage trains; ``model`` is what
        the stage grows from, directly or not, where it is known.
        """
        return []

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the product into the empty directory ``output``. Raises UserError, or Waiting for people."""
        raise NotImplementedError(f"{type(self).__name__}.run")

    def gates(self, report: Report) -> list[Finding]:
        """Whether the stage did its work, from its own report; looked at in every run, also when cached.

        Which gates there are follows from the settings; they are asked for their names with metrics of 0.
        """
        return []

    def rehearsal(self) -> Stage:
        """The same stage, as small as still exercises it: one step, eight rows."""
        return self

    def work(self, inputs: Inputs) -> Work | None:
        """What making it takes, from which its operations, memory and seconds follow on any machine; an input
        that is not made yet has the metrics it is expected to have, and is absent where these are unknown.
        None: not known.
        """
        return None


def nested(stage: Any) -> list[tuple[str, Stage]]:
    """The stages among the fields of a stage or of a record, with their paths, in the order of the fields,
    not looking inside them.
    """
    stages: list[tuple[str, Stage]] = []

    def look(value: Any, path: str) -> None:
        if isinstance(value, Stage):
            stages.append((path, value))
        elif not isinstance(value, PLAIN) and is_dataclass(value):
            for item in fields(value):
                look(getattr(value, item.name), f"{path}.{item.name}")
        elif isinstance(value, tuple | list):
            for index, element in enumerate(value, start=1):
                look(element, f"{path}[{index}]")
        elif isinstance(value, dict):
            for key, element in value.items():
                look(element, f"{path}.{key}")

    for item in fields(stage):
        look(getattr(stage, item.name), item.name)
    return stages


def rewrite(expression: Stages, change: Callable[[Stage, Stage], Stage]) -> Stages:
    """An expression, or a record of stages, with every stage changed once, inputs first, so that what was
    shared stays shared.

    ``change(stage, new)`` is given a stage as it was and with its inputs changed, and says what takes its
    place.
    """
    done: dict[int, Stage] = {}

    def of(stage: Stage) -> Stage:
        if id(stage) not in done:
            values = {item.name: inside(getattr(stage, item.name)) for item in fields(stage)}
            same = all(value is getattr(stage, name) for name, value in values.items())
            done[id(stage)] = change(stage, stage if same else replace(stage, **values))
        return done[id(stage)]

    def inside(value: Any) -> Any:
        """The value with the stages in it changed; the value itself where none is."""
        if isinstance(value, Stage):
            return of(value)
        if not isinstance(value, PLAIN) and is_dataclass(value):
            new = {item.name: inside(getattr(value, item.name)) for item in fields(value) if item.init}
            same = all(inner is getattr(value, name) for name, inner in new.items())
            return value if same else replace(value, **new)  # type: ignore[type-var]
        if isinstance(value, tuple | list):
            items = [inside(item) for item in value]
            same = all(a is b for a, b in zip(items, value, strict=True))
            return value if same else type(value)(items)
        if isinstance(value, dict):
            inner = {key: inside(item) for key, item in value.items()}
            return value if all(inner[key] is value[key] for key in value) else inner
        return value

    return inside(expression)  # type: ignore[no-any-return]


def making_order(expression: Any) -> list[Stage]:
    """Every stage of an expression or a record once, inputs before what uses them; those without inputs
    first, so that a bad file is found early.
    """
    order: list[Stage] = []
    visited: set[int] = set()

    def visit(stage: Any) -> None:
        if id(stage) in visited:
            return
        visited.add(id(stage))
        for _, child in nested(stage):
            visit(child)
        if isinstance(stage, Stage):
            order.append(stage)

    visit(expression)
    return [s for s in order if not nested(s)] + [s for s in order if nested(s)]


def base_name(stage: Stage) -> str:
    return stage.name or type(stage).address or type(stage).__name__.lower()


def addresses(expression: Any) -> dict[str, Stage]:
    """Address to stage of an expression or a record, in the order of making; stages of one name are numbered,
    ``rl[1]``, ``rl[2]``.
    """
    order = making_order(expression)
    names = [base_name(stage) for stage in order]
    numbered: dict[str, Stage] = {}
    for index, (name, stage) in enumerate(zip(names, order, strict=True)):
        number = names[:index].count(name) + 1
        numbered[name if names.count(name) == 1 else f"{name}[{number}]"] = stage
    return numbered
