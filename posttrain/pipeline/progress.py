"""The lines a run prints: which stage, what became of it, its first metrics."""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.metrics import Value
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.stage_report import Report

HEADLINE = 3  # metrics on a stage's line


def figure(value: Value) -> str:
    """Four significant digits, whole numbers whole."""
    if isinstance(value, float):
        return f"{value:.0f}" if 1 <= abs(value) < 1e6 and value == round(value) else f"{value:.4g}"
    return str(value)


def headline(report: Report) -> str:
    shown = list(report.values.items())[:HEADLINE]
    return " · ".join(f"{name} {figure(value)}" for name, value in shown)


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def at_speed(gflops: float) -> str:
    """The speed beside a time, which is no measure of work without it."""
    return f"{gflops:.0f} GFLOP/s"


def size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def described(finding: Finding) -> str:
    """A finding as indented lines: figure against threshold, evidence, advice."""
    against = "" if finding.threshold is None else f", threshold {_text(finding.threshold)}"
    lines = [f"  {finding.name} = {_text(finding.value)}{against}"]
    lines += [f"    {text}" for text in (finding.evidence, finding.advice) if text]
    return "\n".join(lines)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else figure(value)


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns aligned by their widest cell; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def first_names(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
