"""posttrain clean: what killed and replaced work left in a workspace, and its removal."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.pipeline.attempts import remove_scratch
from posttrain.pipeline.files import leftovers, lock
from posttrain.pipeline.progress import duration, table
from posttrain.pipeline.store import MAKING, STALE, Workspace

SUMMARY = "show and remove what is left over"
HELP = """\
Show what killed and replaced work left in the workspace; with --yes, remove it.

  posttrain clean                  what is left over, and how large it is
  posttrain clean --yes            remove it: unfinished work, and files that killed processes left
  posttrain clean --yes --aside    the products that --remake replaced as well

Unfinished work is what the same `posttrain run` command goes on from. Finished products and runs are never
removed; nothing that a process is working on is."""


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--yes", action="store_true", help="remove what is listed")
    parser.add_argument("--aside", action="store_true", help="list replaced products in workspace/aside too")


@dataclass(frozen=True)
class LeftOver:
    """A file or directory that nothing reads any more, or that only an unfinished run would."""

    path: Path
    what: str

    @property
    def size(self) -> int:
        """Bytes of the files in it."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if not file.is_dir())

    @property
    def age(self) -> float:
        """Seconds since it was last changed."""
        return max(time.time() - self.path.lstat().st_mtime, 0.0)


def left_over(workspace: Workspace, aside: bool) -> Iterator[LeftOver]:
    """What may be removed."""
    for path in sorted(workspace.scratch.glob("[!.]*")):
        if not workspace.in_use(path.name):
            yield LeftOver(path, "unfinished work")
    for path in sorted(workspace.scratch.glob(".gone-*")):
        yield LeftOver(path, "half removed")
    for path in sorted([*workspace.products.glob(f"{MAKING}*"), *workspace.products.glob(f"{STALE}*")]):
        name = path.name.removeprefix(MAKING)
        if path.name.startswith(STALE) or not workspace.in_use(name):
            yield LeftOver(path, "half-written product")
    for directory in (workspace.root, *sorted(workspace.runs.glob("*"))):
        for path in leftovers(directory):
            yield LeftOver(path, "half-written record")
    for path in sorted(workspace.aside.glob("*")) if aside else ():
        yield LeftOver(path, "replaced product")


def run(options: Any) -> int:
    """Lists, and removes where that was asked."""
    workspace = Workspace(options.workspace)
    items = list(left_over(workspace, options.aside))
    if not items:
        print(f"{workspace.root}: nothing is left over")
        return 0
    rows: list[tuple[str, ...]] = [("LEFT OVER", "WHAT IT IS", "SIZE", "AGE")]
    for one in items:
        shown = str(one.path.relative_to(workspace.root))
        rows.append((shown, one.what, f"{one.size / 1e6:,.1f} MB", duration(round(one.age))))
    print(table(rows))
    total = sum(one.size for one in items) / 1e6
    if not options.yes:
        print(f"\n{total:,.1f} MB. `posttrain clean --yes{' --aside' * options.aside}` removes it.")
        return 0
    for one in items:
        if one.path.parent == workspace.scratch and not one.path.name.startswith("."):
            with lock(workspace.products / f".{one.path.name}.lock", one.path.name):
                remove_scratch(one.path)
        elif one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)
    print(f"\n{total:,.1f} MB removed.")
    return 0
