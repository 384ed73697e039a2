"""The run that nothing interrupted, and whether another one made the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from same.products import differences, facts

from posttrain.pipeline.store import LOCATED
from torture_parts.kinds import Kind
from torture_parts.process import Ended, Options, Place, start

UNEQUAL = ("made.json", "times.jsonl")  # they hold times; the metrics of the first are compared
SHOWN = 4


@dataclass(frozen=True)
class Twin:
    """What a kind makes without an interruption.

    ``fresh``: a workspace with what the stage reads. ``products``: what is made, by name. ``work``: counted.
    ``operations``: how often it did each.
    """

    bench: Place
    fresh: Path
    products: Path
    work: dict[str, int]
    operations: dict[str, int]
    seconds: float

    def restore(self, source: Path | None = None) -> None:
        """The workspace becomes a copy of ``source``, of ``fresh`` without one."""
        shutil.rmtree(self.bench.workspace, ignore_errors=True)
        shutil.copytree(source or self.fresh, self.bench.workspace, symlinks=True)

    def differences(self, workspace: Path | None = None) -> list[str]:
        """In what the products of a workspace are not these: files byte for byte, the metrics of reports."""
        made = (workspace or self.bench.workspace) / "products"
        different: list[str] = []
        for product in sorted(self.products.iterdir()):
            again = made / product.name
            if not again.is_dir():
                different.append(f"{product.name} is not there")
                continue
            names = {str(p.relative_to(one)) for one in (product, again) for p in one.rglob("*")}
            for name in sorted(names):
                both = [one / name for one in (product, again)]
                if Path(name).name not in UNEQUAL and not _same(*both):
                    different.append(f"{product.name}/{name}")
            pair = (dict(_metrics(one)) for one in (product, again))
            different += [str(one) for one in differences(*pair)]
        return different[:SHOWN] + (["and more"] if len(different) > SHOWN else [])


def _same(one: Path, other: Path) -> bool:
    if one.is_dir() or other.is_dir():
        return one.is_dir() and other.is_dir()
    if not (one.exists() and other.exists()):
        return False
    if one.name == LOCATED:
        return _unlocated(one) == _unlocated(other)
    return one.read_bytes() == other.read_bytes()


def _unlocated(config: Path) -> Any:
    """An adapter's config without the directory of its base, which is another on another disk."""
    settings = json.loads(config.read_text())
    return {name: value for name, value in settings.items() if name != "base_model_name_or_path"}


def _metrics(product: Path) -> Any:
    for fact, value in facts(product):
        if fact.kind != "metrics":
            return
        yield fact, value


def make(kind: Kind, bench: Place, inputs: Path) -> Ended:
    """Makes the kind without an interruption, and beside it what it reads, in the workspace ``inputs`` that
    kinds share. Raises RuntimeError where that fails.
    """
    fresh = bench.root / "fresh"
    (fresh / "products").mkdir(parents=True)
    if kind.address and kind.reads:
        names = bench.root / "reads.json"
        before = start(kind, _Shared(bench.root, bench.counters, inputs), Options(only_reads=names))
        if before.code:
            raise RuntimeError(f"{kind.name}: what it reads could not be made\n{before.output[-3000:]}")
        for name in json.loads(names.read_text()):
            shutil.copytree(inputs / "products" / name, fresh / "products" / name)
    shutil.copytree(fresh, bench.workspace)
    ended = start(kind, bench, Options(traced=True))
    if ended.code:
        raise RuntimeError(f"{kind.name}: ended with {ended.code}\n{ended.output[-3000:]}")
    earlier = {path.name for path in (fresh / "products").iterdir()}
    for path in (bench.workspace / "products").iterdir():
        if path.name not in earlier:
            shutil.copytree(path, bench.root / "twin" / path.name)
    facts_of_it = {"work": ended.work, "operations": bench.trace, "seconds": ended.seconds}
    (bench.root / "twin.json").write_text(json.dumps(facts_of_it))
    return ended


def load(bench: Place) -> Twin:
    """What ``make`` left."""
    fields = json.loads((bench.root / "twin.json").read_text())
    return Twin(bench=bench, fresh=bench.root / "fresh", products=bench.root / "twin", **fields)


@dataclass(frozen=True)
class _Shared(Place):
    """A place whose workspace is elsewhere."""

    elsewhere: Path

    @property
    def workspace(self) -> Path:
        return self.elsewhere


def elsewhere(twin: Twin, workspace: Path) -> Twin:
    """The same twin for runs in another workspace."""
    bench = twin.bench
    return replace(twin, bench=_Shared(bench.root, bench.counters, workspace))
