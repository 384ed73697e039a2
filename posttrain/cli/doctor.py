"""posttrain doctor: a rehearsal that names what would stand in the way of a run."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from posttrain.cli.recipe_options import declare_recipe, machine_of, read_recipe
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import Workspace

SUMMARY = "rehearse a recipe: what would stand in the way"
HELP = """\
Rehearse a recipe before it is run: look at the machine, read your files whole, then make every stage small
(one step, a few rows) in a temporary workspace. It says what would stand in the way; gates about what a stage
has learned are not judged. The settings are those of `posttrain run`.

  posttrain doctor                        the machine alone
  posttrain doctor instructgpt            the recipe too
  posttrain doctor instructgpt base=DIR demonstrations=a.jsonl comparisons=b.jsonl"""


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    declare_recipe(parser)


def run(options: Any) -> int:
    """Raises UserError with every problem that was found."""
    from posttrain.checks.doctor import examine

    expression = read_recipe(options)[2] if options.recipe else None
    workspace = Workspace(options.workspace)
    machine = machine_of(options, workspace, quiet=True)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    problems = examine(expression, workspace, machine, lambda text: print(text, flush=True), colour)
    if problems:
        raise UserError("\n".join(["this stands in the way:", *problems]))
    print("Nothing found that stands in the way.")
    return 0
