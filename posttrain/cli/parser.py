"""The commands, and the options that each has."""

from __future__ import annotations

import argparse
import os

import posttrain.cli.chat as chat
import posttrain.cli.clean as clean
import posttrain.cli.doctor as doctor
import posttrain.cli.export as export
import posttrain.cli.lineage as lineage
import posttrain.cli.list as listing
import posttrain.cli.new as new
import posttrain.cli.report as report
import posttrain.cli.run as run
import posttrain.cli.serve as serve
from posttrain import __version__

HELP = """\
From a base language model to an aligned one, with evidence.

  posttrain run instructgpt            the whole recipe on the embedded world; --dry-run says how long here
  posttrain report --json              its metrics
  posttrain chat                       talk to the model it made
  posttrain serve                      the same over HTTP, as OpenAI's interface has it
  posttrain export --to gguf           the model for llama.cpp; also ollama, hub

A recipe is a chain of stages: base, sft, pairs, labels, rm, rl, evaluate. Each makes a product, a directory
under workspace/products. A second run makes only what changed. A run that was stopped or
killed goes on where it was, to the same bits, with the same command."""
COMMANDS = {
    "run": run,
    "doctor": doctor,
    "list": listing,
    "report": report,
    "lineage": lineage,
    "chat": chat,
    "export": export,
    "serve": serve,
    "new": new,
    "clean": clean,
}
TAKES_SETTINGS = ("run", "doctor")


def build_parser() -> argparse.ArgumentParser:
    """Every module of ``COMMANDS`` has ``SUMMARY``, ``HELP``, ``declare(parser)`` and ``run(options)``, which
    returns the exit code. A module that answers ``--help`` itself says so with ``OWN_HELP = True``.
    """
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="posttrain", description=HELP, formatter_class=shape)
    parser.add_argument("--version", action="version", version=f"posttrain {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--workspace",
        default=os.environ.get("POSTTRAIN_WORKSPACE", "workspace"),
        metavar="DIR",
        help="where products and runs are kept (default: ./workspace, or POSTTRAIN_WORKSPACE)",
    )
    for name, command in COMMANDS.items():
        command_parser = subparsers.add_parser(
            name,
            help=command.SUMMARY,
            description=command.HELP,
            formatter_class=shape,
            parents=[shared],
            add_help=not getattr(command, "OWN_HELP", False),
        )
        command_parser.set_defaults(do=command.run)
        command.declare(command_parser)
    return parser
