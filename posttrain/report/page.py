"""The report of a run: one HTML file that opens without a network."""

from __future__ import annotations

from html import escape
from pathlib import Path

from posttrain.pipeline.files import write_whole
from posttrain.pipeline.secrets import Redaction
from posttrain.report import measured, provenance, sections
from posttrain.report.record import RunRecord
from posttrain.report.sections import chapter
from posttrain.report.style import CSS, SCRIPT

NAME = "report.html"


def write(run_dir: Path, workspace: Path) -> Path:
    """Writes ``run_dir/report.html``, whole or not at all, and returns its path.

    It shows what it finds: a run that failed or waits, or a recipe of one stage, has a shorter page. Raises
    UserError where ``run_dir`` holds no run.
    """
    run = RunRecord.load(Path(run_dir), Path(workspace))
    final = Path(run_dir) / NAME
    write_whole(final, Redaction(list(run.record.get("overrides", []))).text(html(run)))
    return final


def html(run: RunRecord) -> str:
    """The page as text; the same run gives the same bytes."""
    body = "".join(
        (
            sections.head(run),
            sections.recipe(run),
            sections.over_steps(run),
            sections.over_optimization(run),
            sections.side_by_side(run),
            chapter("Metrics of each stage", *measured.blocks(run), caption=measured.CAPTION),
            chapter("Checks", provenance.checks(run)),
            chapter("Time and memory", provenance.costs(run)),
            chapter("Lineage", provenance.lineage(run)),
            chapter("Settings", provenance.settings(run)),
        )
    )
    footer = f"<footer>{provenance.versions(run)}</footer>"
    title = escape(f"{run.recipe}: {run.directory.name}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{CSS}</style></head>"
        f"<body><main>{body}{footer}</main><script>{SCRIPT}</script></body></html>\n"
    )
