"""``name=value`` on the command line, or the same in a YAML file, becomes a checked expression of stages.

A name is a parameter of the recipe (``seed``), or an address: a stage (``sft``, ``rl[2]``) and the fields
below it (``rl.method.clip_range``). A stage's value is a finished product's directory; a field that holds an
object takes the name of a file in that object's folder, or of a class beside it.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from posttrain.pipeline.files import check_regular
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished, field_types, finished
from posttrain.pipeline.stage import LABELS, Stage, addresses, base_name, rewrite
from posttrain.pipeline.values import NONE, Override, coerced, nearest

LARGEST_FILE = 10_000_000  # bytes of settings
DEEPEST_FILE, MOST_SETTINGS, BRACKETS = 16, 10_000, 100


@dataclass
class Wishes:
    """The overrides at one place and below it."""

    whole: Override | None = None
    below: dict[str, Wishes] = field(default_factory=dict)

    def all(self) -> list[Override]:
        own = [self.whole] if self.whole else []
        return own + [wish for deeper in self.below.values() for wish in deeper.all()]


def parse(arguments: Iterable[str]) -> list[Override]:
    """``["rl.method=ppo"]``. Raises UserError where there is no ``=`` or no name."""
    found = []
    for argument in arguments:
        path, equals, text = argument.partition("=")
        if not equals or not path.strip():
            raise UserError(f"{argument}: expected name=value, such as seed=1 or rl.learning_rate=1e-5")
        found.append(Override(path.strip(), text.strip()))
    return found


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
    return walk.found


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
        self.found: list[Override] = []
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
            self.found.append(Override(prefix, node.value, where))
        else:
            if not all(isinstance(item, self._scalar) for item in node.value):
                raise UserError(f"{where}: {prefix} is a list of more than plain values")
            self.found.append(Override(prefix, json.dumps([item.value for item in node.value]), where))
        return None

    def _mapped(self, node: Any, prefix: str, depth: int) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, self._scalar):
                raise UserError(f"{self._at(key)}: expected a name such as `seed`, found a list or a mapping")
            if key.value in seen:
                raise UserError(f"{self._at(key)}: {key.value} is set twice; keep one")
            seen.add(key.value)
            self.into(value, f"{prefix}.{key.value}" if prefix else key.value, depth + 1)

    def _at(self, node: Any) -> str:
        return f"{self._path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def expression(recipe: Callable[..., Stage], overrides: Iterable[Override]) -> Stage:
    """The recipe's expression with every override applied. Raises UserError for a name or value that
    does not fit.
    """
    chosen: dict[str, Any] = {}
    others: list[Override] = []
    known = parameters(recipe)
    for wish in overrides:
        if wish.path in known:
            declared, default = known[wish.path]
            chosen[wish.path] = coerced(wish, declared, default)
        else:
            others.append(wish)
    try:
        made = recipe(**chosen)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{recipe.__name__}: {error}") from error
    except Exception as error:  # the recipe may be the user's own
        raise UserError(f"{recipe.__name__}() raised {type(error).__name__}: {error}") from error
    if not isinstance(made, Stage):
        raise UserError(f"{recipe.__name__}() returned {type(made).__name__}, expected its last stage")
    return Rewriting(made, others, known).result() if others else made


def parameters(recipe: Callable[..., Stage]) -> dict[str, tuple[Any, Any]]:
    """Name to declared type and default of what a recipe takes."""
    hints = typing.get_type_hints(recipe)
    return {
        name: (hints.get(name), None if item.default is inspect.Parameter.empty else item.default)
        for name, item in inspect.signature(recipe).parameters.items()
    }


class Rewriting:
    """Rewrites an expression once per stage, so that what was shared stays shared."""

    def __init__(self, made: Stage, overrides: Iterable[Override], known: Mapping[str, Any]) -> None:
        self._expression = made
        self._stages = addresses(made)
        self._done: dict[int, Stage] = {}
        self._wishes: dict[str, Wishes] = {}
        names = set(self._stages) | {base_name(stage) for stage in self._stages.values()}
        for wish in overrides:
            head, *rest = _segments(wish)
            if head not in names:
                raise UserError(f"{wish}: nothing is called {head}{nearest(head, [*names, *known])}")
            place = self._wishes.setdefault(head, Wishes())
            for segment in rest:
                place = place.below.setdefault(segment, Wishes())
            place.whole = wish

    def result(self) -> Stage:
        return rewrite(self._expression, self._rewritten)

    def _rewritten(self, stage: Stage, new: Stage) -> Stage:
        self._done[id(stage)] = found = self._wished(stage, new)
        return found

    def _wished(self, stage: Stage, new: Any) -> Stage:
        address = next(name for name, known in self._stages.items() if known is stage)
        if stage.follows:
            new = self._followed(stage, new)
        for name in dict.fromkeys((base_name(stage), address)):
            wishes = self._wishes.get(name, Wishes())
            if wishes.whole and wishes.below:
                raise UserError(
                    f"{wishes.all()[1]}: {name} is a finished product here, it has no settings to change"
                )
            if wishes.whole:
                return _finished(wishes.whole, base_name(stage), stage)
            if wishes.below:
                new = self._changed(new, wishes, name)
        return new  # type: ignore[no-any-return]

    def _followed(self, control: Stage, new: Stage) -> Stage:
        """The control as one of what it follows, as that is with the wishes of its own name. An input is
        changed where it is named.
        """
        was = next((s for s in self._stages.values() if base_name(s) == control.follows), None)
        wishes = self._wishes.get(control.follows, Wishes())
        own = {n: w for n, w in wishes.below.items() if not isinstance(getattr(was, n, None), Stage)}
        if was is None or not own:
            return new
        return new.following(was, self._changed(was, Wishes(below=own), control.follows))

    def _changed(self, value: Any, wishes: Wishes, path: str) -> Any:
        """The value with the wishes below it granted."""
        if isinstance(value, tuple | list | dict):
            return self._changed_items(value, wishes, path)
        if not is_dataclass(value) or isinstance(value, type):
            raise UserError(f"{wishes.all()[0]}: {path} is {value!r}, it has no fields")
        declared, new = field_types(type(value)), {}
        names = [
            f.name for f in fields(value) if f.init and not (isinstance(value, Stage) and f.name in LABELS)
        ]
        for name, deeper in wishes.below.items():
            if name not in names:
                raise UserError(f"{deeper.all()[0]}: {path} has no setting {name}{nearest(name, names)}")
            new[name] = self._granted(getattr(value, name), declared.get(name), deeper, f"{path}.{name}")
        said = ", ".join(str(wish) for wish in wishes.all())
        try:
            return replace(value, **new)
        except (ValueError, UserError) as error:
            raise UserError(f"{said}: {error}") from None

    def _changed_items(self, value: Any, wishes: Wishes, path: str) -> Any:
        items = dict(value) if isinstance(value, dict) else {str(n): v for n, v in enumerate(value, start=1)}
        for name, deeper in wishes.below.items():
            if name not in items:
                raise UserError(
                    f"{deeper.all()[0]}: {path} has no {name}; it has {', '.join(items) or 'nothing'}"
                )
            items[name] = self._granted(items[name], None, deeper, f"{path}[{name}]")
        return items if isinstance(value, dict) else type(value)(items.values())

    def _granted(self, value: Any, declared: Any, wishes: Wishes, path: str) -> Any:
        """One field: its whole value first, then the fields below it."""
        stage = next((s for s in self._stages.values() if self._done.get(id(s)) is value), None)
        if isinstance(value, Stage) and not (wishes.whole and wishes.whole.text.lower() in NONE):
            own = next(name for name, known in self._stages.items() if known is stage)
            rest = wishes.all()[0].path.removeprefix(path)
            raise UserError(f"{wishes.all()[0]}: {path} is the stage {own}; write {own}{rest}=...")
        if wishes.whole:
            value = coerced(wishes.whole, declared, value)
            if isinstance(value, type):
                return self._constructed(value, wishes, path)
        return self._changed(value, wishes, path) if wishes.below else value

    def _constructed(self, kind: Any, wishes: Wishes, path: str) -> Any:
        """An object chosen by name; what has no default comes from the wishes below it."""
        required = [
            f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING
        ]
        declared, given = field_types(kind), {}
        for name in required:
            deeper = wishes.below.get(name)
            if deeper is None or deeper.whole is None:
                raise UserError(f"{wishes.whole}: {kind.__name__} also needs {path}.{name}=...")
            given[name] = coerced(deeper.whole, declared.get(name), None)
        rest = Wishes(below={name: deeper for name, deeper in wishes.below.items() if name not in required})
        made = kind(**given)
        return self._changed(made, rest, path) if rest.below else made


def _finished(wish: Override, name: str, stage: Stage) -> Finished:
    try:
        found = finished(wish.text, name)
        stage.replaceable(found.directory)
    except UserError as error:
        raise UserError(f"{wish}: {error}") from None
    return found


def _segments(wish: Override) -> list[str]:
    """``rl[1].method.parts[2].coef`` as ``rl[1]``, ``method``, ``parts``, ``2``, ``coef``."""
    if not re.fullmatch(r"[\w-]+(\[\d+\])?(\.[\w-]+(\[\d+\])?)*", wish.path):
        raise UserError(f"{wish}: expected a name such as rl, rl[2] or rl.method.clip_range")
    head, *rest = wish.path.split(".")
    return [head, *(part for segment in rest for part in re.findall(r"[\w-]+", segment))]
