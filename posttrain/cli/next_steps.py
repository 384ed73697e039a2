"""What to type once a run is over, in commands that work as they stand there."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from posttrain.cli.product_lookup import final_model
from posttrain.pipeline.store import Workspace

BEFORE = "Next:"


def next_steps(workspace: Workspace, device: str = "cpu") -> str:
    """A command and what it does, a line each, for the latest run: its metrics, and, where it made a model
    that writes text, chat with that and where it came from.

    Commands begin as this process was called, and name the workspace and ``device`` where these are not the
    defaults.
    """
    options = _place(workspace.root)
    commands = [("report --json" + options, "every figure of this run")]
    final = final_model(workspace)
    if final is not None:
        address, _ = final
        on = "" if device == "cpu" else f" --device {shlex.quote(device)}"
        commands.append(("chat" + on + options, "talk to the model that it made"))
        commands.append((f"lineage {shlex.quote(address)}{options}", "what that model was made from"))
    name, width = _called(), max(len(command) for command, _ in commands)
    return "\n".join([BEFORE, *(f"  {name} {command.ljust(width)}  {what}" for command, what in commands)])


def _place(root: Path) -> str:
    """The workspace as an option, empty where it is the one without."""
    usual = Path(os.environ.get("POSTTRAIN_WORKSPACE", "workspace"))
    if root.absolute() == usual.absolute():
        return ""
    below = root.is_relative_to(Path.cwd())
    return f" --workspace {shlex.quote(os.path.relpath(root) if below else str(root))}"


def _called() -> str:
    """``posttrain`` where the shell finds this one by that name, else the path by which it was called."""
    script = Path(sys.argv[0])
    if script.parts[-2:] == ("posttrain", "__main__.py"):
        return f"{Path(sys.executable).name} -m posttrain"
    if script.name != "posttrain":  # called from Python
        return "posttrain"
    executable = shutil.which("posttrain")
    same = executable is not None and script.exists() and Path(executable).samefile(script)
    return "posttrain" if same else shlex.quote(os.path.relpath(script))
