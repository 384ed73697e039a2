"""posttrain list: the recipes, and the runs, products and unfinished work of a workspace."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from posttrain.cli.recipe_files import recipes
from posttrain.pipeline.attempts import read_attempts
from posttrain.pipeline.circumstances import standing
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.progress import duration, table
from posttrain.pipeline.runner import read_record, run_number
from posttrain.pipeline.store import Product, Workspace

SUMMARY = "recipes, runs, products and unfinished work"
HELP = """\
List the recipes, and the runs, products and unfinished work of the workspace.

  posttrain list
  posttrain list --workspace DIR"""


def declare(parser: argparse.ArgumentParser) -> None:
    """No arguments but the workspace."""


def run(options: Any) -> int:
    """Prints up to four tables; a damaged record or product is listed as damaged."""
    recipe_rows: list[tuple[str, ...]] = [("RECIPE", "WHAT IT IS")]
    for name, path in recipes().items():
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        recipe_rows.append((name, docstring.split("\n\n")[0].replace("\n", " ")))
    print(table(recipe_rows))
    workspace = Workspace(options.workspace)
    run_rows: list[tuple[str, ...]] = [("RUN", "RECIPE", "STATUS", "STARTED", "SETTINGS")]
    for path in sorted(workspace.runs.glob("*-*"), key=run_number):
        record = _record(path)
        facts = (str(record.get("recipe", "?")), standing(record), str(record.get("started", "?")))
        run_rows.append((str(run_number(path)), *facts, " ".join(record.get("overrides", []))))
    product_rows: list[tuple[str, ...]] = [("PRODUCT", "STAGE", "MADE", "TOOK")]
    for path in sorted(workspace.products.glob("[!.]*/made.json")):
        try:
            made = Product.load(path.parent).made
        except UserError:
            made = {"stage": "damaged"}
        kind = str(made.get("stage", "?")).rpartition(".")[2]
        took = duration(made["seconds"]) if "seconds" in made else "?"
        product_rows.append((path.parent.name, kind, str(made.get("finished", "?")), took))
    unfinished = [*unfinished_work(workspace)]
    if unfinished:
        rows: list[tuple[str, ...]] = [("UNFINISHED", "STATUS", "ATTEMPTS", "TOOK", "LAST SAVED")]
        print(f"\n{workspace.scratch}\n{table([*rows, *unfinished])}")
        print("The same command goes on where it was; `posttrain clean` removes what is not wanted.")
    elif len(run_rows) + len(product_rows) == 2:
        print(f"\n{workspace.root}: nothing here yet; `posttrain run instructgpt` makes one")
        return 0
    print(f"\n{workspace.runs}\n{table(run_rows)}\n\n{workspace.products}\n{table(product_rows)}")
    return 0


def unfinished_work(workspace: Workspace) -> Iterator[tuple[str, ...]]:
    """Of each product that is not finished: its name, whether a process is at work on it, how many attempts
    there were, what they took, and when it was last saved.
    """
    for path in sorted(workspace.scratch.glob("[!.]*")):
        attempts = read_attempts(path)
        seconds = sum(float(one.get("seconds", 0.0)) for one in attempts)
        saved = datetime.fromtimestamp(max(file.stat().st_mtime for file in [path, *path.iterdir()]), UTC)
        status = "at work" if workspace.in_use(path.name) else "stopped"
        yield path.name, status, str(len(attempts)), duration(seconds), saved.isoformat(timespec="seconds")


def _record(run_directory: Path) -> dict[str, Any]:
    """What a run said of itself, for a list; one that cannot be read is named so."""
    try:
        return read_record(run_directory)
    except UserError:
        return {"recipe": run_directory.name.partition("-")[2], "status": "damaged"}
