"""Where everything came from: checks, settings, time, memory, seeds, versions, and the chain of hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from posttrain.report.record import Made, RunRecord
from posttrain.report.scale import duration, number, size
from posttrain.report.svg import tag
from posttrain.report.titles import plain

_SHORT = 12  # letters of a hash that are shown


def checks(run: RunRecord) -> str:
    """Every finding with its threshold, evidence and advice."""
    rows = []
    for stage in run.stages:
        for finding in stage.findings:
            mark = "passed" if finding.passed else "<span class='failed'>failed</span>"
            accepted = f"{stage.address}.{finding.name}" in run.record.get("accepted_gates", [])
            limit = "" if finding.threshold is None else escape(number(finding.threshold))
            words = " ".join(
                word for word in (finding.evidence, "" if finding.passed else finding.advice) if word
            )
            cells = tag("td", escape(stage.address)) + tag("td", escape(plain(finding.name)))
            cells += tag("td", mark + (" (accepted)" if accepted else ""))
            cells += tag("td", escape(number(finding.value)), class_="n", data_name="value")
            cells += tag("td", limit, class_="n", data_name="threshold")
            rows.append(tag("tr", cells + tag("td", escape(words))))
    return _table(["stage", "check", "", "*value", "*threshold", "evidence"], rows)


def costs(run: RunRecord) -> str:
    """Wall time and peak memory of each stage, as numbers and as bars, and the speed that makes time work."""
    longest = max((stage.seconds or 0.0 for stage in run.stages), default=0.0) or 1.0
    most = max((stage.peak_bytes or 0 for stage in run.stages), default=0) or 1
    rows = []
    for stage in run.stages:
        state = {"made": "made in this run"}.get(
            str(stage.run.get("state", "made")), str(stage.run.get("state"))
        )
        time = (
            "" if stage.seconds is None else _bar(stage.seconds / longest) + escape(duration(stage.seconds))
        )
        memory = (
            "" if not stage.peak_bytes else _bar(stage.peak_bytes / most) + escape(size(stage.peak_bytes))
        )
        seed = "" if stage.seed is None else escape(str(stage.seed))
        cells = tag("td", escape(stage.address)) + tag("td", time, data_name="wall time")
        if stage.attempts > 1:
            state += f", in {stage.attempts} attempts"
        cells += tag("td", memory, data_name="peak memory") + tag("td", escape(state))
        rows.append(tag("tr", cells + tag("td", seed, class_="n", data_name="seed")))
    if rows:
        spent = sum(stage.seconds or 0.0 for stage in run.stages)
        total = tag("td", "all") + tag("td", escape(duration(spent))) + tag("td") * 3
        rows.append(tag("tr", total, class_="total"))
    speed = f"{number(run.gflops)} GFLOP/s of float32 matrix products on this machine." if run.gflops else ""
    caption = tag("p", escape(speed), class_="caption") if speed and rows else ""
    return caption + _table(["stage", "wall time", "peak memory of the process", "", "*seed"], rows)


def _bar(share: float) -> str:
    return f'<span class="bar" style="width:{max(1.0, 120 * share):.0f}px"></span>'


def lineage(run: RunRecord) -> str:
    """Each product with its hashes and those of what it was made from."""
    from_of: dict[str, list[str]] = {}
    for source, target in run.edges:
        from_of.setdefault(target, []).append(source)
    rows = []
    for stage in run.stages:
        parents = ", ".join(from_of.get(stage.address, [])) or "nothing"
        cells = tag("td", escape(stage.address)) + tag("td", escape(parents), data_name="from")
        cells += tag("td", _hash(stage.fingerprint), data_name="settings")
        cells += tag("td", _hash(stage.product.content), data_name="content")
        product = tag("span", escape(stage.path.name), class_="hash")
        rows.append(tag("tr", cells + tag("td", product, data_name="product")))
    return _table(["stage", "made from", "settings hash", "content hash", "product"], rows)


def _hash(digest: str) -> str:
    return tag("span", escape(digest[:_SHORT]), class_="hash", title=digest) if digest else ""


def settings(run: RunRecord) -> str:
    """Every setting of every stage, folded."""
    return "".join(_settings(stage) for stage in run.stages if stage.settings)


def _settings(stage: Made) -> str:
    flat = list(flattened(stage.settings))
    rows = "".join(
        tag("tr", tag("td", tag("code", escape(name))) + tag("td", tag("code", escape(str(value)))))
        for name, value in flat
    )
    about = (
        f"{stage.kind.rpartition('.')[2]}, {len(flat)} settings" if stage.kind else f"{len(flat)} settings"
    )
    summary = tag("summary", escape(stage.address) + tag("span", escape(about), class_="meta"))
    return tag("details", summary + tag("table", rows))


def flattened(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names, as one would write them on the command line."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        for index, inner in enumerate(value, start=1):
            yield from flattened(inner, f"{name}[{index}]")
    else:
        yield name, value


def versions(run: RunRecord) -> str:
    """Of the software; where stages were made with different ones, both are said."""
    by_name: dict[str, list[str]] = {}
    for stage in run.stages:
        for name, version in stage.versions.items():
            if version not in by_name.setdefault(name, []):
                by_name[name].append(version)
    parts = [f"{name} {' and '.join(which)}" for name, which in by_name.items()]
    return tag("p", escape(" · ".join(parts)), class_="caption") if parts else ""


def _table(columns: list[str], rows: list[str]) -> str:
    """A column whose name starts with * holds numbers."""
    if not rows:
        return ""
    head = "".join(
        tag("th", escape(c.lstrip("*")), scope="col", class_="n" if c[:1] == "*" else None) for c in columns
    )
    whole = tag("table", tag("thead", tag("tr", head)) + tag("tbody", "".join(rows)), class_="plain")
    return tag("div", whole, class_="wide")
