"""A run as its files tell it: what was made, from what, how long it took, its curves and its samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from posttrain.metrics import Metric
from posttrain.pipeline.files import parsed
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.runner import read_record
from posttrain.pipeline.store import Product
from posttrain.report.catalogue import declared
from posttrain.report.titles import words_of

Curve = list[tuple[float, float]]
_SAMPLES = "samples.jsonl"
_HUGE = 1e100  # a number of a curve that is no measure of anything
_LARGE = 64 << 20  # bytes; episodes are read by evaluation, not here


@dataclass(frozen=True)
class Made:
    """One stage of a run and its product."""

    address: str
    product: Product
    run: Mapping[str, Any] = field(default_factory=dict)  # what the run itself says of it

    @property
    def path(self) -> Path:
        return self.product.path

    @property
    def made(self) -> Mapping[str, Any]:
        return self.product.made

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Each in its unit; of a product that was made before metrics had one, that of the declaration."""
        return {name: _in_unit(name, metric) for name, metric in self.product.metrics.items()}

    @cached_property
    def findings(self) -> list[Finding]:
        """What its preflight and gates looked at in this run, and what the stage itself reported."""
        checked = self.run.get("findings") or self.made.get("findings") or []
        reported = self.made.get("report", {}).get("findings", [])
        fields = Finding.__dataclass_fields__
        findings = [
            Finding(**{k: v for k, v in one.items() if k in fields})
            for one in [*reported, *checked]
            if "name" in one
        ]
        return list({one.name: one for one in findings}.values())

    @property
    def notes(self) -> list[str]:
        """The stage's own, and which of its code has changed since it was made."""
        notes = [str(note) for note in self.made.get("report", {}).get("notes", [])]
        other = [str(name) for name in self.run.get("changed_since", [])]
        return notes + ([f"Made by earlier code; changed since: {', '.join(other)}."] if other else [])

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.made.get("settings", {}))

    @property
    def kind(self) -> str:
        """The stage's class."""
        return str(self.made.get("stage") or self.run.get("stage") or "")

    @cached_property
    def role(self) -> str:
        """``pipeline.stage.REINFORCEMENT``, ``ALIGNMENT`` or nothing."""
        return str(self.run.get("role", getattr(_class_of(self.kind), "role", "")))

    @cached_property
    def does(self) -> str:
        """What the stage does, in a few words."""
        declared_by_class = getattr(_class_of(self.kind), "does", "")
        return str(self.run.get("does") or declared_by_class or words_of(self.kind))

    @property
    def control(self) -> bool:
        """Whether it was made to compare another with."""
        return bool(self.run.get("control", False))

    @property
    def cached(self) -> bool:
        """Whether this run found it made already."""
        return self.run.get("state", "made") != "made"

    @property
    def seconds(self) -> float | None:
        return _number(self.made.get("seconds"))

    @property
    def attempts(self) -> int:
        """Starts that it took; more than one where a run was stopped or killed and went on."""
        attempts = self.made.get("attempts")
        return len(attempts) if isinstance(attempts, list) else 1

    @property
    def peak_bytes(self) -> int | None:
        value = _number(self.made.get("peak_bytes"))
        return None if value is None else int(value)

    @property
    def seed(self) -> Any:
        return self.settings.get("seed")

    @property
    def fingerprint(self) -> str:
        return str(self.made.get("fingerprint", ""))

    @property
    def versions(self) -> dict[str, str]:
        return {str(k): str(v) for k, v in dict(self.made.get("versions", {})).items()}

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """Name to (step, value), steps ascending; of the rows of one step the mean, or the largest."""
        gathered: dict[str, dict[float, list[float]]] = {}
        for file in sorted(self.path.glob("*.jsonl")):
            if file.name != _SAMPLES and file.is_file() and file.stat().st_size < _LARGE:
                for row in _steps(file):
                    for name, value in row.items():
                        if name != "step" and _number(value) is not None:
                            by_step = gathered.setdefault(name, {})
                            by_step.setdefault(float(row["step"]), []).append(float(value))
        whole = {name: by_step for name, by_step in gathered.items() if len(by_step) > 1}
        return {
            name: [(step, _together(name, values)) for step, values in sorted(by_step.items())]
            for name, by_step in whole.items()
        }

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        file = self.path / _SAMPLES
        return list(_rows(file)) if file.is_file() and file.stat().st_size < _LARGE else []


@dataclass(frozen=True)
class RunRecord:
    """A directory with a run.json, and the stages it names in the order of making."""

    directory: Path
    record: Mapping[str, Any]
    stages: list[Made]

    @classmethod
    def load(cls, directory: Path, workspace: Path) -> RunRecord:
        """Raises UserError where run.json is absent or damaged. Products that are gone are left out."""
        directory, workspace = Path(directory), Path(workspace)
        record = read_record(directory)
        says = {one["address"]: one for one in record.get("stages", []) if "address" in one}
        places = record["products"].items()
        paths = [(address, _resolve(name, workspace, directory)) for address, name in places]
        stages = [Made(address, Product.load(path), says.get(address, {})) for address, path in paths if path]
        return cls(directory, record, stages)

    @property
    def recipe(self) -> str:
        return str(self.record.get("recipe") or self.directory.name.partition("-")[2] or self.directory.name)

    @property
    def seconds(self) -> float | None:
        """From its start to its end; of a run that did not write that down, as its clock told, and None where
        the clock was set back.
        """
        if (seconds := _number(self.record.get("seconds"))) is not None:
            return seconds
        try:
            began, ended = (datetime.fromisoformat(str(self.record[key])) for key in ("started", "finished"))
        except (KeyError, ValueError):
            return None
        seconds = (ended - began).total_seconds()
        return seconds if seconds >= 0 else None

    @property
    def gflops(self) -> float | None:
        """Float32 matrix products of the machine when the run computed, in 10^9 operations a second."""
        return _number(dict(self.record.get("machine", {})).get("gflops"))

    @property
    def waiting(self) -> list[str]:
        """Addresses that wait for people, or for what waits for them."""
        return [
            str(one["address"])
            for one in self.record.get("stages", [])
            if one.get("state") == "waiting" and "address" in one
        ]

    @cached_property
    def edges(self) -> list[tuple[str, str]]:
        """(from, to): whose product is an input of whom; as the run says, else by the hashes in made.json."""
        tokens: dict[str, str] = {}
        for stage in self.stages:
            for token in (stage.fingerprint, stage.product.content, stage.path.name, str(stage.path)):
                tokens.setdefault(token, stage.address)
        tokens.pop("", None)
        edges = []
        addresses = {stage.address: stage.address for stage in self.stages}
        for stage in self.stages:
            run_inputs = stage.run.get("inputs")
            inputs, by = (run_inputs, addresses) if run_inputs else (stage.made.get("inputs", {}), tokens)
            used = [by[token] for token in _strings(inputs) if token in by]
            edges += [(one, stage.address) for one in dict.fromkeys(used) if one != stage.address]
        return edges


def _resolve(name: str, workspace: Path, directory: Path) -> Path | None:
    roots = (Path(name), workspace / name, workspace / "products" / name, directory / name)
    return next((path for path in roots if path.is_dir()), None)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows that are objects; a last line cut short by a kill is not one."""
    if not file.is_file():  # a pipe would be waited for
        return
    with file.open(encoding="utf-8", errors="replace") as stream:
        for written in stream:
            try:
                row = parsed(written)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _steps(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a curve; a file that starts with text rows (episodes) is not a curve and is left unread."""
    for row in _rows(file):
        if _number(row.get("step")) is None or "prompt" in row or "messages" in row:
            return
        yield row


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE
    return float(value) if good else None


def _together(name: str, values: list[float]) -> float:
    one = declared(name, "log")
    return max(values) if one is not None and one.kind.largest else math.fsum(values) / len(values)


def _in_unit(name: str, metric: Metric) -> Metric:
    if metric.unit:
        return metric
    one = declared(name, "report", metric)
    return metric if one is None or not one.kind.fits(metric.value) else replace(metric, unit=one.unit)


@cache
def _class_of(kind: str) -> type | None:
    """The stage's class, for runs whose record does not say what it declares; only the package's own."""
    module, _, name = kind.rpartition(".")
    if not re.fullmatch(r"posttrain\.stages\.\w+", module):
        return None
    try:
        return getattr(import_module(module), name, None)
    except ImportError:  # renamed since
        return None
