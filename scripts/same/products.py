"""What a run left in its workspace, as facts that can be compared one by one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from same.renames import Renames, address, listed, renamed

# Metrics, columns and keys of JSON files that say how or where a run went on a machine, not what it computed:
# a word of the name, where words are parted by "/", "_" or ".": seconds, seconds/update, tokens_per_second,
# peak_bytes, started, and base_model_name_or_path in an adapter's config.
VOLATILE = re.compile(
    r"(^|[/_.])(seconds?|minutes|hours|bytes|memory|gflops|speed|started|finished|date|directory|path)($|[/_.])"
)
MADE = "made.json"  # read for its metrics alone
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".npy", ".npz", ".gguf")
LOG = "metrics.jsonl"
TIMES = "times.jsonl"  # holds nothing else
COUNT = "number of rows"
KINDS = ("weights", "metrics", "logged", "rows", "files")
SINGULAR = {"metrics": "metric", "rows": "row", "files": "file"}
_ENDS = {"_low": "low", "/low": "low", "_lower": "low", ".low": "low", "_n": "n"}
_ENDS |= {"_high": "high", "/high": "high", "_upper": "high", ".high": "high"}


@dataclass(frozen=True, order=True)
class Fact:
    """Where a value stands: ``location`` is a file, or a row of one (``metrics.jsonl, row 3``)."""

    kind: str  # of KINDS
    name: str
    location: str = ""

    def __str__(self) -> str:
        where = f" ({self.location})" if self.location else ""
        return f"{SINGULAR.get(self.kind, self.kind)} {self.name}{where}"


Facts = Mapping[Fact, Any]


def stages(run: Path, workspace: Path, renames: Renames) -> dict[str, Facts]:
    """The facts of every stage that a run has a product of, by address, in the order of making.

    ``renames`` are applied to all names: those of OLD's tables for OLD's run, an empty one for NEW's.
    """
    record = json.loads((run / "run.json").read_text("utf-8"))
    order = [stage["address"] for stage in record["stages"] if stage["address"] in record["products"]]
    return {
        address(name, renames.addresses): dict(facts(workspace / record["products"][name], renames))
        for name in order
    }


def facts(product: Path, renames: Renames = Renames()) -> Iterator[tuple[Fact, Any]]:  # noqa: B008
    """Everything in a product's directory that is not volatile."""
    made = json.loads((product / MADE).read_text("utf-8"))
    report = made.get("report", made)
    for name, value in _metrics(report.get("metrics", report.get("figures", {})), renames):
        yield Fact("metrics", name), value
    for path in sorted(product.rglob("*")):
        file = path.relative_to(product).as_posix()
        if not path.is_file() or path.name in (MADE, TIMES):
            continue
        name = renamed(file, renames.files)
        if path.suffix in WEIGHTS:
            yield Fact("weights", name), hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.suffix == ".jsonl":
            yield from _rows(path, name, renames)
        elif path.suffix == ".json":
            yield from _keys(path, name)
        else:
            yield Fact("files", name), hashlib.sha256(path.read_bytes()).hexdigest()


def _metrics(metrics: Mapping[str, Any], renames: Renames) -> Iterator[tuple[str, Any]]:
    """Metrics of made.json: numbers with their ends beside them (``x``, ``x_low``, ``x_n``), or objects of
    value, low, high and n. Both give ``x``, ``x.low`` and so on.
    """
    for name, value in metrics.items():
        base, end = _end(name, metrics)
        base = renamed(base, renames.metrics)
        if VOLATILE.search(base):
            continue
        if isinstance(value, dict):
            yield base, value.get("value")
            yield from ((f"{base}.{e}", value[e]) for e in ("low", "high", "n") if value.get(e) is not None)
        else:
            yield (f"{base}.{end}" if end else base), value


def _end(name: str, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """A name without what says that it is an end of another's interval, or its count; and which."""
    for suffix, end in _ENDS.items():
        if name.endswith(suffix) and name.removesuffix(suffix) in metrics:
            return name.removesuffix(suffix), end
    return name, ""


def _rows(path: Path, file: str, renames: Renames) -> Iterator[tuple[Fact, Any]]:
    """A fact for each column of each row."""
    log = file == LOG
    kind, table = ("logged", renames.metrics) if log else ("rows", renames.columns)
    lines = path.read_text("utf-8").splitlines()
    yield Fact(kind, COUNT, file), len(lines)
    for number, line in enumerate(lines, start=1):
        for key, value in json.loads(line).items():
            name = renamed(key, table)
            if not VOLATILE.search(name):
                yield Fact(kind, name, f"{file}, row {number:04d}"), value


def _keys(path: Path, file: str) -> Iterator[tuple[Fact, Any]]:
    """A fact for the file, and one for each key of the object that it holds."""
    content = json.loads(path.read_text("utf-8"))
    content = content if isinstance(content, dict) else {"all of it": content}
    yield Fact("files", file), "JSON"
    yield from (
        (Fact("files", key, file), value) for key, value in content.items() if not VOLATILE.search(key)
    )


@dataclass(frozen=True)
class Difference:
    """A fact of which the sides do not say the same; a side that has no such fact says ``ABSENT``."""

    fact: Fact
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.fact}: {_short(self.old)} | {_short(self.new)}"


ABSENT = "(not there)"


def differences(old: Facts, new: Facts, renames: Renames = Renames()) -> list[Difference]:  # noqa: B008
    """What differs, weights first, then in the order of rows. Numbers are equal to the last bit; NaN is equal
    to NaN.
    """
    unequal = [
        Difference(fact, old.get(fact, ABSENT), new.get(fact, ABSENT))
        for fact in {**old, **new}
        if not (fact in old and fact in new and _equal(old[fact], new[fact]))
    ]
    unexpected = [d for d in unequal if not _expected(d, renames)]
    return sorted(unexpected, key=lambda d: (KINDS.index(d.fact.kind), d.fact.location, d.fact.name))


def _expected(difference: Difference, renames: Renames) -> bool:
    """Whether a fact may be on one side alone."""
    if difference.new is ABSENT:
        return listed(difference.fact.name, renames.only_old)
    return difference.old is ABSENT and listed(difference.fact.name, renames.only_new)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and a != a and b != b:
        return True
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(value, b[key]) for key, value in a.items())
    return bool(a == b)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def counts(facts_of: Sequence[Facts]) -> dict[str, int]:
    """How many facts there are of each kind; rows and files are counted, not their columns and keys."""
    totals = dict.fromkeys(KINDS, 0)
    for one in facts_of:
        for fact, value in one.items():
            if fact.kind == "rows":
                totals["rows"] += value if fact.name == COUNT else 0
            elif fact.kind != "files" or not fact.location:
                totals[fact.kind] += 1
    return totals
