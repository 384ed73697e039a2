"""A recipe's expression of stages, rewritten by overrides."""

from __future__ import annotations

import difflib
import inspect
import re
import shlex
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any, Generic

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished, finished
from posttrain.pipeline.stage import LABELS, Stage, Stages, addresses, base_name, rewrite
from posttrain.pipeline.values import NONE, Override, coerced, nearest
from posttrain.settings.declared import declared_type
from posttrain.settings.listing import settings_of
from posttrain.settings.written import parse

MISSPELT = 0.8  # similarity from which an unknown name is taken for a recipe's parameter
SHOWN = 4  # stages that have a setting of some name


@dataclass
class OverrideTree:
    """The overrides at one place and below it."""

    whole: Override | None = None
    below: dict[str, OverrideTree] = field(default_factory=dict)

    def all(self) -> list[Override]:
        here = [self.whole] if self.whole else []
        return here + [override for deeper in self.below.values() for override in deeper.all()]


def expression(recipe: Callable[..., Stage], overrides: Iterable[Override]) -> Stage:
    """The recipe's expression with every override applied. Raises UserError for a name or value that
    does not fit.
    """
    chosen: dict[str, Any] = {}
    others: list[Override] = []
    takes = parameters(recipe)
    for override in overrides:
        if override.path in takes:
            declared, default = takes[override.path]
            if override.text == "":  # a variable of a shell that is not set, it may be
                raise UserError(
                    f"{override}: nothing is given after the equals sign, expected a value; leave "
                    f"{override.path} out where none is meant"
                )
            chosen[override.path] = coerced(override, declared, default)
        else:
            others.append(override)
    try:
        made = recipe(**chosen)
    except UserError:
        for override in others:  # a misspelt parameter, which the recipe misses
            if difflib.get_close_matches(override.path, takes, n=1, cutoff=MISSPELT):
                raise UserError(_unknown(override, override.path, takes)) from None
        raise
    except ValueError as error:
        raise UserError(f"{recipe.__name__}: {error}") from error
    except Exception as error:  # the recipe may be the user's own
        raise UserError(f"{recipe.__name__}() raised {type(error).__name__}: {error}") from error
    if not isinstance(made, Stage):
        raise UserError(f"{recipe.__name__}() returned {type(made).__name__}, expected its last stage")
    return Rewriting(made, others, takes).result() if others else made


def parameters(recipe: Callable[..., Stage]) -> dict[str, tuple[Any, Any]]:
    """Name to declared type and default of what a recipe takes."""
    hints = typing.get_type_hints(recipe)
    return {
        name: (hints.get(name), None if item.default is inspect.Parameter.empty else item.default)
        for name, item in inspect.signature(recipe).parameters.items()
    }


def with_overrides(stages: Stages, *written: str) -> Stages:
    """The stages of an expression or of a record with overrides applied, written as on the command line:
    ``"rl.steps=40 rl.method.kl.coef=0.1"``; ``#`` begins a comment. What is shared stays shared. Where two
    texts set the same setting the last counts. Raises UserError for a name or value that does not fit, and
    for a setting that comes twice in one text.
    """
    overrides = {override.path: override for text in written for override in parse(_words(text))}
    return Rewriting(stages, overrides.values(), {}).result()


def with_settings(stage: Stages, *written: str) -> Stages:
    """One stage with settings of its own, written as below its address: ``"steps=40 method.kl.coef=0.1"``.
    Raises UserError as ``with_overrides`` does.
    """
    address = next(name for name, one in addresses(stage).items() if one is stage)
    texts = (" ".join(f"{address}.{shlex.quote(word)}" for word in _words(text)) for text in written)
    return with_overrides(stage, *texts)


def _words(text: str) -> list[str]:
    return shlex.split(text, comments=True)


class Rewriting(Generic[Stages]):
    """Rewrites an expression, or a record, once per stage, so that what was shared stays shared."""

    def __init__(self, made: Stages, overrides: Iterable[Override], parameters: Mapping[str, Any]) -> None:
        self._expression = made
        self._stages = addresses(made)
        self._done: dict[int, Stage] = {}
        self._trees: dict[str, OverrideTree] = {}
        names = set(self._stages) | {base_name(stage) for stage in self._stages.values()}
        for override in overrides:
            head, *rest = _segments(override)
            if head not in names and head in parameters:
                raise UserError(
                    f"{override}: here {head} is a setting of the recipe and no stage, so nothing is below "
                    f"it; the stages are {', '.join(sorted(names))}"
                )
            if head not in names:
                below = [] if rest else _settings_named(head, self._stages.values())
                if below:
                    choice = " or ".join(f"{name}={override.text}" for name in below[:SHOWN])
                    raise UserError(f"{override}: {head} is a setting of a stage; write {choice}")
                raise UserError(_unknown(override, head, [*names, *parameters]))
            tree = self._trees.setdefault(head, OverrideTree())
            for segment in rest:
                tree = tree.below.setdefault(segment, OverrideTree())
            tree.whole = override

    def result(self) -> Stages:
        return rewrite(self._expression, self._rewritten)

    def _rewritten(self, stage: Stage, new: Stage) -> Stage:
        self._done[id(stage)] = changed = self._overridden(stage, new)
        return changed

    def _overridden(self, stage: Stage, new: Any) -> Stage:
        address = next(name for name, one in self._stages.items() if one is stage)
        if stage.follows:
            new = self._followed(stage, new)
        for name in dict.fromkeys((base_name(stage), address)):
            tree = self._trees.get(name, OverrideTree())
            if tree.whole and tree.below:
                raise UserError(
                    f"{tree.all()[1]}: {name} is a finished product here, it has no settings to change"
                )
            if tree.whole:
                return _finished(tree.whole, base_name(stage), stage)
            if tree.below:
                new = self._changed(new, tree, name)
        return new  # type: ignore[no-any-return]

    def _followed(self, control: Stage, new: Stage) -> Stage:
        """The control as one of what it follows, as that is with the overrides of its own name. An input is
        changed where it is named.
        """
        was = next((s for s in self._stages.values() if base_name(s) == control.follows), None)
        tree = self._trees.get(control.follows, OverrideTree())
        below = {n: t for n, t in tree.below.items() if not isinstance(getattr(was, n, None), Stage)}
        if was is None or not below:
            return new
        return new.following(was, self._changed(was, OverrideTree(below=below), control.follows))

    def _changed(self, value: Any, tree: OverrideTree, path: str) -> Any:
        """The value with the overrides below it applied."""
        if isinstance(value, tuple | list | dict):
            return self._changed_items(value, tree, path)
        if not is_dataclass(value) or isinstance(value, type):
            if value is None:
                raise UserError(f"{tree.all()[0]}: {path} is none; say what it is as well: {path}=NAME")
            raise UserError(f"{tree.all()[0]}: {path} is {value!r}, it has no fields")
        new = {}
        names = [
            f.name for f in fields(value) if f.init and not (isinstance(value, Stage) and f.name in LABELS)
        ]
        for name, deeper in tree.below.items():
            if name not in names:
                raise UserError(f"{deeper.all()[0]}: {path} has no setting {name}{nearest(name, names)}")
            new[name] = self._apply(
                getattr(value, name), declared_type(type(value), name), deeper, f"{path}.{name}"
            )
        written = ", ".join(str(override) for override in tree.all())
        try:
            return replace(value, **new)
        except (ValueError, UserError) as error:
            raise UserError(f"{written}: {error}") from None

    def _changed_items(self, value: Any, tree: OverrideTree, path: str) -> Any:
        items = dict(value) if isinstance(value, dict) else {str(n): v for n, v in enumerate(value, start=1)}
        for name, deeper in tree.below.items():
            if name not in items:
                raise UserError(
                    f"{deeper.all()[0]}: {path} has no {name}; it has {', '.join(items) or 'nothing'}"
                )
            items[name] = self._apply(items[name], None, deeper, f"{path}[{name}]")
        return items if isinstance(value, dict) else type(value)(items.values())

    def _apply(self, value: Any, declared: Any, tree: OverrideTree, path: str) -> Any:
        """One field: its whole value first, then the fields below it."""
        stage = next((s for s in self._stages.values() if self._done.get(id(s)) is value), None)
        if isinstance(value, Stage) and not (tree.whole and tree.whole.text.lower() in NONE):
            address = next(name for name, one in self._stages.items() if one is stage)
            rest = tree.all()[0].path.removeprefix(path)
            raise UserError(f"{tree.all()[0]}: {path} is the stage {address}; write {address}{rest}=...")
        if tree.whole:
            chosen = coerced(tree.whole, declared, value)
            if isinstance(chosen, type):
                return self._constructed(chosen, value, tree, path)
            value = chosen
        return self._changed(value, tree, path) if tree.below else value

    def _constructed(self, kind: Any, present: Any, tree: OverrideTree, path: str) -> Any:
        """An object chosen by name: the present one where it is of that class, with what the recipe set in
        it; otherwise a new one, for which what has no default comes from the overrides below it.
        """
        if type(present) is kind:
            return self._changed(present, tree, path) if tree.below else present
        required = [
            f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING
        ]
        given: dict[str, Any] = {}
        for name in required:
            deeper = tree.below.get(name)
            if deeper is not None and deeper.whole is not None:
                given[name] = self._apply(None, declared_type(kind, name), deeper, f"{path}.{name}")
            else:
                raise UserError(f"{tree.whole}: {kind.__name__} also needs {path}.{name}=...")
        rest = OverrideTree(below={name: one for name, one in tree.below.items() if name not in given})
        made = kind(**given)
        return self._changed(made, rest, path) if rest.below else made


def _unknown(override: Override, name: str, options: Iterable[str]) -> str:
    return f"{override}: nothing is called {name}{nearest(name, options)}"


def _settings_named(name: str, stages: Iterable[Stage]) -> list[str]:
    """The settings whose last word is ``name``, as they are typed; a name for all rounds of a stage."""
    typed = [f"{base_name(stage)}.{one.name}" for stage in stages for one in settings_of(stage)]
    return list(dict.fromkeys(one for one in typed if one.rpartition(".")[2] == name))


def _finished(override: Override, name: str, stage: Stage) -> Finished:
    try:
        product = finished(override.text, name)
        stage.replaceable(product.directory)
    except UserError as error:
        raise UserError(f"{override}: {error}") from None
    return product


def _segments(override: Override) -> list[str]:
    """``rl[1].method.parts[2].coef`` as ``rl[1]``, ``method``, ``parts``, ``2``, ``coef``."""
    if not re.fullmatch(r"[\w-]+(\[\d+\])?(\.[\w-]+(\[\d+\])?)*", override.path):
        raise UserError(f"{override}: expected a name such as rl, rl[2] or rl.method.clip_range")
    head, *rest = override.path.split(".")
    return [head, *(part for segment in rest for part in re.findall(r"[\w-]+", segment))]
