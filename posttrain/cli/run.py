"""posttrain run: make every product of a recipe that is not made yet, then write the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from posttrain.cli.next_steps import next_steps
from posttrain.cli.recipe_files import recipes
from posttrain.cli.recipe_options import declare_recipe, machine_of, read_recipe
from posttrain.cost.drawing import drawing
from posttrain.cost.scale import Paper, scale_table
from posttrain.pipeline import runner
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.plan import plan
from posttrain.pipeline.plan_table import plan_table
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace

SUMMARY = "run a recipe, making only what is not made yet"
HELP = """\
Make every product of a recipe that is not made yet, then write the report.

  posttrain run instructgpt                            all defaults
  posttrain run instructgpt seed=1                     a parameter of the recipe
  posttrain run instructgpt rl.learning_rate=1e-5      a setting of one stage: only rl and what follows rerun
  posttrain run instructgpt rl.method.clip_range=0.1   a setting of the stage's method
  posttrain run instructgpt sft=DIR                    a finished product in a stage's place
  posttrain run instructgpt base=DIR_OR_HUB_ID demonstrations=a.jsonl comparisons=b.jsonl prompts=c.jsonl
  posttrain run instructgpt evidence=full              its controls as well
  posttrain run instructgpt --remake rl                make rl again; the old one is kept in workspace/aside
  posttrain run instructgpt --dry-run                  what would be made, and what that would take
  posttrain doctor instructgpt                         a rehearsal: every stage made small, then thrown away
  posttrain run instructgpt --help                     its parameters, stages and settings
  posttrain run ./my_recipe.py                         your own: a function my_recipe() that returns stages

What comes out:
  workspace/products/<stage>-<fingerprint>/   models that plain transformers loads, records as JSON lines, and
                                              made.json with settings, hashes and metrics
  workspace/runs/<n>-<recipe>/                run.json and report.html"""
OWN_HELP = True  # with a recipe, --help lists its settings


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("-h", "--help", action="store_true", help="this, or with a recipe: its settings")
    parser.add_argument("--dry-run", action="store_true", help="say what would be made; make nothing")
    parser.add_argument(
        "--accept-gate", action="append", default=[], metavar="NAME", help="go on past this gate"
    )
    parser.add_argument(
        "--remake",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="make this product again, as after somebody changed its files; the old one is kept in "
        "workspace/aside",
    )
    parser.add_argument("--draw", action="store_true", help="draw which stage feeds which; make nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors and the report's path")
    parser.set_defaults(parser=parser)
    declare_recipe(parser)


def run(options: Any) -> int:
    """Runs, draws, plans or explains a recipe. Raises UserError for a recipe or a setting that is none."""
    if options.help and not options.recipe:
        options.parser.print_help()
        return 0
    if not options.recipe:
        raise UserError(f"which recipe? There is: {', '.join(recipes())}, or a .py file of your own")
    recipe, overrides, expression = read_recipe(options)
    if options.help:
        from posttrain.cli.recipe_help import recipe_help

        print(recipe_help(recipe, options.recipe, expression))
        return 0
    if options.draw:
        print(drawing(expression))
        return 0
    workspace = Workspace(options.workspace)
    machine = machine_of(options, workspace, quiet=options.quiet)
    if options.dry_run:
        print(_dry_run(recipe, expression, workspace, machine, options.remake))
        return 0
    say: Callable[[str], None] = (
        (lambda text: None) if options.quiet else (lambda text: print(text, flush=True))
    )
    result = runner.run(
        expression,
        workspace,
        machine,
        recipe=recipe.__name__,
        overrides=[f"{override.path}={override.text}" for override in overrides],
        accept=options.accept_gate,
        remake=options.remake,
        say=say,
    )
    return _end(result, workspace, options)


def _dry_run(
    recipe: Callable[..., Stage],
    expression: Stage,
    workspace: Workspace,
    machine: Machine,
    remake: Sequence[str],
) -> str:
    """What would be made and what that takes, and the scale of the recipe's paper where its file has one."""
    from posttrain.checks.machine import flops_per_second, speed

    planned = plan(expression, workspace, machine, lambda: flops_per_second(machine.device), remake)
    table = plan_table(planned, speed(machine.device))
    paper = getattr(sys.modules.get(recipe.__module__), "PAPER", None)
    scale = scale_table(planned, paper if isinstance(paper, Paper) else None)
    return f"{table}\n\n{scale}" if scale else table


def _end(result: runner.Run, workspace: Workspace, options: Any) -> int:
    page = result.directory / "report.html"
    if result.made or not page.exists():
        from posttrain.report.page import write

        page = write(result.directory, workspace.root)
    if not result.made and not result.waiting:
        print("Nothing to do: everything is made.")
    for address, reason in result.waiting.items():
        print(f"{address} waits: {reason}")
    print(f"Report: {page}")
    if not options.quiet and not result.waiting:
        print(next_steps(workspace, options.device))
    return 0
