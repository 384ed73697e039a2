"""posttrain report: a run's report again, its metrics, or what a metric means."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from posttrain.pipeline.files import expanded
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import latest_run, run_number
from posttrain.pipeline.store import Workspace

SUMMARY = "rebuild a run's report"
HELP = """\
Rebuild the report of a run: one HTML file that opens offline.

  posttrain report             the latest run
  posttrain report 3           run 3 of the workspace
  posttrain report --json      every metric as one flat object, {"sft.nll_heldout": 1.2, ...}
  posttrain report --explain kl_final    what a metric means; without a name, all of them"""


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="number or directory (default: the latest)")
    parser.add_argument("--json", action="store_true", help="print the metrics instead")
    parser.add_argument(
        "--explain", nargs="?", const="", metavar="METRIC", help="what a metric means (default: list all)"
    )


def run(options: Any) -> int:
    """Raises UserError where there is no such run, or no metric of the name that is to be explained."""
    if options.explain is not None:
        return _explain(options.explain)
    workspace = Workspace(options.workspace)
    directory = _find_run(workspace, options.run)
    if options.json:
        from posttrain.report.shown import flat_metrics

        print(json.dumps(flat_metrics(directory, workspace.root), indent=1))
        return 0
    from posttrain.report.page import write

    print(f"Report: {write(directory, workspace.root)}")
    return 0


def _explain(name: str) -> int:
    from posttrain.report.catalogue import explained, nearest_names, sources

    if not name:
        for source in sources():
            print(f"{source.kind.name}: {source.kind.meaning}")
        return 0
    lines = explained(name.rpartition(".")[2] or name)  # of --json it has the address of its stage before it
    if not lines:
        near = nearest_names(name)
        wish = f"did you mean {' or '.join(near)}?" if near else "`posttrain report --explain` lists all"
        raise UserError(f"--explain {name}: no metric is called that; {wish}")
    print("\n".join(lines))
    return 0


def _find_run(workspace: Workspace, name: str | None) -> Path:
    if name is None:
        latest = latest_run(workspace)
        if latest is None:
            raise UserError(
                f"{workspace.root}: no run here; `posttrain run RECIPE` makes one, --workspace names another"
            )
        return latest
    started = sorted(workspace.runs.glob("*-*"), key=run_number)
    numbered = [path for path in started if path.name.partition("-")[0] == name]
    for path in (expanded(name), workspace.runs / name, *numbered):
        if (path / "run.json").is_file():
            return path.resolve()
    options = ", ".join(path.name for path in started)
    raise UserError(f"{name}: no such run in {workspace.runs}; there is: {options or 'none'}")
