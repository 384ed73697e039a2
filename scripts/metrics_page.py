"""Writes docs/metrics.md, every metric and what it means: ``python scripts/metrics_page.py``."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from posttrain.report.catalogue import DeclaredIn, sources  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
HEAD = """\
# Metrics

What each number means that a stage logs at every step (`metrics.jsonl`) or reports when it is made
(`made.json`, the report, `posttrain report --json`). `posttrain report --explain NAME` prints the same
sentence, and in the report it is the tooltip of each curve and number.

A name with `{braces}` is a family: `gold/{model}` stands for `gold/sft` and `gold/final`. `{metric}` stands
for another metric, which lends its unit and its direction: `kl_final` is `{metric}_final` of `kl`. In
`made.json` a metric is an object of `value`, `unit` and, where they are known, `low` and `high`, the ends
of its 95 % interval, and `n`, how many observations it rests on. A share is between 0 and 1.

A metric is declared in the file that computes it, which heads each table. This page is written by `python
scripts/metrics_page.py`.
"""
DIRECTIONS = {"up": "more", "down": "less", "none": ""}
PLACES = {"log": "step", "report": "stage", "": ""}


def page() -> str:
    """The page as text."""
    parts = [HEAD]
    for file, declared in groupby(sources(), lambda source: source.file):
        rows = "\n".join(map(_row, declared))
        parts.append(
            f"## {file}\n\n| metric | what it means | unit | better | of a |\n|---|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


def _row(source: DeclaredIn) -> str:
    kind = source.kind
    unit = kind.unit or "that of the metric"
    cells = (f"`{kind.name}`", kind.meaning, unit, DIRECTIONS[kind.better], PLACES[kind.where])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> None:
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
