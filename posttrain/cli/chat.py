"""posttrain chat: a conversation with a model in the terminal."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from posttrain.cli.product_lookup import chat_of, find_model
from posttrain.device import DEVICE_HELP, device
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import Workspace

SUMMARY = "talk to a model"
HELP = """\
Talk to a model. A line is a message; /new starts over, /quit (or Ctrl-D) ends.

  posttrain chat               the final model of the latest run
  posttrain chat sft           the product of that address in the latest run
  posttrain chat DIR           any directory that transformers can load
  echo "Hello" | posttrain chat --temperature 0"""


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("product", nargs="?", metavar="PRODUCT", help="an address or a directory")
    parser.add_argument(
        "--temperature", type=float, default=0.7, metavar="T", help="0 takes the likeliest (default 0.7)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="longest answer (default 256)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same seed, same answers (default 0)"
    )
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)


def run(options: Any) -> int:
    """Answers lines of standard input until it ends. Raises UserError where there is no model."""
    if options.max_tokens < 1:
        raise UserError(f"--max-tokens {options.max_tokens}: expected at least 1")
    if not 0 <= options.temperature < float("inf"):
        raise UserError(f"--temperature {options.temperature}: expected 0 or more, such as 0.7")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text are a question mark, not an end
    workspace = Workspace(options.workspace)
    path = find_model(workspace, options.product).path
    from posttrain.cli.chat_loop import Conversation, converse
    from posttrain.engines.builtin import BuiltinEngine
    from posttrain.models.loading import load_causal_lm

    model, tokenizer = load_causal_lm(path, device=device(options.device))
    interactive = sys.stdin.isatty()
    if interactive:
        print(f"{path}\nA line is a message; /new starts over, /quit ends.")
    conversation = Conversation(
        BuiltinEngine(model), chat_of(tokenizer, path), options.temperature, options.max_tokens, options.seed
    )
    converse(conversation, interactive)
    return 0
