"""A rehearsal: the machine looked at, and a recipe made small in a workspace that is thrown away."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from posttrain.checks import machine as machines
from posttrain.checks.supervised_row import first_row
from posttrain.cost.sizes import FLOAT
from posttrain.pipeline.blame import raised_by_user
from posttrain.pipeline.files import alive
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.plan import plan
from posttrain.pipeline.progress import described
from posttrain.pipeline.runner import Run, StageFailed, run
from posttrain.pipeline.stage import Machine, Stage, addresses, rewrite
from posttrain.pipeline.store import Workspace
from posttrain.pipeline.trouble import trouble

SCRATCH = "posttrain-doctor-"  # and the number of the process


def rehearsed(expression: Stage) -> Stage:
    """The same recipe with every stage as small as still exercises it."""
    return rewrite(expression, lambda stage, new: new.rehearsal())


def examine(
    expression: Stage | None,
    workspace: Workspace,
    machine: Machine,
    say: Callable[[str], None],
    colour: bool = False,
) -> list[str]:
    """What stands in the way, a text each, after it was said; without a recipe of the machine alone. One row
    that is learned from is shown with its mask, in ``colour`` where that is wanted.

    Raises UserError where the user's own files cannot be used, which are read whole.
    """
    rows = plan(expression, workspace, machine) if expression is not None else []
    waiting = [row.estimate for row in rows if row.product is None]
    weights = sum(FLOAT * int(hoped.expects.get("parameters", 0)) for hoped in waiting)
    findings = (
        machines.computes(machine.device),
        machines.kernels(),
        machines.memory(machine.device, max((hoped.bytes for hoped in waiting), default=0)),
        machines.disk(workspace.root, 2 * weights),  # a policy keeps its critic beside it
    )
    for finding in findings:
        say(f"{'ok  ' if finding.passed else 'FAIL'}  {finding.name}: {finding.evidence}")
    wrong = [described(finding) for finding in findings if not finding.passed]
    if expression is not None:
        _sweep()
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-") as scratch:
            say("rehearsal, every stage small: one step, a few rows; what it makes is thrown away")
            wrong += _rehearse(expression, _scratch(Path(scratch), workspace), machine, say, colour)
    return wrong


def _sweep() -> None:
    """Removes the workspaces of rehearsals that were killed, this user's alone."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        owner = left.name.removeprefix(SCRATCH).partition("-")[0]
        with suppress(OSError):
            mine = left.is_dir() and not left.is_symlink() and left.stat().st_uid == os.getuid()
            if mine and owner.isdecimal() and not alive(int(owner)):
                shutil.rmtree(left)


def _scratch(directory: Path, workspace: Workspace) -> Workspace:
    """An empty workspace that knows what was downloaded and pinned before."""
    if (workspace.root / "pins.json").is_file():
        shutil.copy(workspace.root / "pins.json", directory)
    if (workspace.root / "cache").is_dir():
        (directory / "cache").symlink_to(workspace.root / "cache")
    return Workspace(directory)


def _rehearse(
    expression: Stage, scratch: Workspace, machine: Machine, say: Callable[[str], None], colour: bool
) -> list[str]:
    """A stage that fails ends it; a gate that does not pass is noted, unless it is about learning."""
    quiet = replace(machine, quiet=True)
    small = rehearsed(expression)
    try:
        done = run(small, scratch, quiet, recipe="rehearsal", accept=None, say=say)
        if row := first_row(addresses(small), done.products, colour):
            say(row)
        return _gates(done)
    except UserError as error:
        return [str(error)]
    except StageFailed as error:
        cause = error.__cause__
        message = ""
        if cause is not None:
            message = trouble(cause, str(scratch.root)) or raised_by_user(cause)
        what = message or f"failed: {type(cause).__name__}: {cause}"
        return [*_gates(error.run), f"stage {error.address}{':' if message else ''} {what}"]


def _gates(done: Run) -> list[str]:
    findings = [
        (stage["address"], Finding(**fields))
        for stage in done.record["stages"]
        for fields in stage.get("findings", [])
    ]
    return [
        f"stage {address} did not do its work:\n{described(one)}"
        for address, one in findings
        if not one.passed and not one.learning
    ]
