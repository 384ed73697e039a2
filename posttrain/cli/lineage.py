"""posttrain lineage: where a product came from."""

from __future__ import annotations

import argparse
from typing import Any

from posttrain.cli.product_lookup import find_product
from posttrain.pipeline.lineage import lineage
from posttrain.pipeline.store import Workspace

SUMMARY = "where a product came from"
HELP = """\
Say where a product came from: its settings, the hashes of its data, and its parents, back to the base model.

  posttrain lineage rl                               the product of that address in the latest run
  posttrain lineage workspace/products/rl-1f0c...    any product directory, also one copied elsewhere"""


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("product", metavar="PRODUCT", help="an address or a directory")


def run(options: Any) -> int:
    """Raises UserError where there is no such product."""
    print(lineage(find_product(Workspace(options.workspace), options.product)))
    return 0
