"""posttrain new: a commented file of your own that runs, with its test."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from posttrain.cli.new_files import KINDS
from posttrain.pipeline.files import expanded, write_whole
from posttrain.pipeline.finding import UserError

SUMMARY = "write a reward, environment, method or recipe of your own"
HELP = """\
Write a commented Python file of your own, which runs as it is, and a test of it. Change it, then name the
file where a name is.

  posttrain new reward brief           brief.py: a function
  posttrain run instructgpt rl.reward=./brief.py:brief
  posttrain new environment corridor   corridor.py: a class
  posttrain run cartpole rl.environment=./corridor.py:Corridor
  posttrain new method signed          signed.py: a policy gradient
  posttrain run instructgpt rl.method=./signed.py:Signed rl.group_size=4
  posttrain new recipe mine            mine.py: stages and their inputs
  posttrain run ./mine.py"""
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("kind", choices=sorted(KINDS), help="what to write")
    parser.add_argument("name", metavar="NAME", help="of the file, its function or class: small_letters")
    parser.add_argument("--directory", type=expanded, default=Path(), metavar="DIR", help="default: here")


def run(options: Any) -> int:
    """Raises UserError for a name that Python cannot import, and for files that are there already."""
    name = options.name
    if not NAME.fullmatch(name):
        raise UserError(f"{name}: expected a name of small letters, digits and _, such as short_words")
    kind = KINDS[options.kind]
    files = {f"{name}.py": kind.code, f"test_{name}.py": kind.test}
    for file in files:
        if (options.directory / file).exists():
            raise UserError(
                f"{options.directory / file} is there already; choose another name or --directory"
            )
    options.directory.mkdir(parents=True, exist_ok=True)
    title = "".join(part.capitalize() for part in name.split("_"))
    for file, text in files.items():
        write_whole(options.directory / file, text.replace("NAME", name).replace("TITLE", title))
    path = (options.directory / f"{name}.py").as_posix()
    path = path if path.startswith(("/", ".")) else f"./{path}"
    print(f"Wrote {path} and its test test_{name}.py.\n")
    print(f"  {kind.command.replace('FILE', path).replace('NAME', name).replace('TITLE', title)}")
    print(f"  python -m pytest {Path(path).with_name(f'test_{name}.py')}")
    return 0
