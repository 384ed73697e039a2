"""Two checkouts of posttrain: where they are, their kernels, and recipes run by their command lines."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from same.cases import RATINGS, Case
from same.renames import Renames, before

ATTEMPTS = 12  # starts of one case: a run stops at each gate that fails and is not accepted yet
PINNED = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
_REFUSED = re.compile(r"--accept-gate (\S+): no gate")


@dataclass(frozen=True)
class Checkout:
    """A directory with a posttrain in it, and the workspace that its runs write to."""

    label: str  # OLD or NEW
    root: Path
    workspace: Path
    renames: Renames  # of the names that its command line has; empty for NEW

    def environment(self) -> dict[str, str]:
        """This checkout's package before every other, one thread, and no network."""
        variables = {name: value for name, value in os.environ.items() if name != "POSTTRAIN_WORKSPACE"}
        path = os.pathsep.join([str(self.root), *filter(None, [variables.get("PYTHONPATH")])])
        return {**variables, **PINNED, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.workspace.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.workspace.parent,
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    def check(self) -> None:
        """Raises ValueError where another posttrain than that of this directory would run."""
        done = self.python("-c", "import posttrain; print(posttrain.__file__)")
        path = done.stdout.strip()
        if done.returncode or not Path(path).resolve().is_relative_to(self.root):
            raise ValueError(
                f"{self.label}: expected a posttrain in {self.root}, found {path or done.stderr}"
            )


@dataclass(frozen=True)
class Ran:
    """A case in one checkout: its run's directory, the seconds that it took, and why it did not end."""

    run: Path | None
    seconds: float
    problem: str = ""


def run(checkout: Checkout, case: Case) -> Ran:
    """The case, again past each gate that fails, until it is finished or something else is wrong."""
    began, accepted = time.monotonic(), list(case.gates)
    try:
        command = spelled(checkout, case)
    except ValueError as error:
        return Ran(None, time.monotonic() - began, str(error))
    problem = f"{ATTEMPTS} starts were not enough"
    earlier = _latest(checkout.workspace)
    for _ in range(ATTEMPTS):
        gates = [word for gate in accepted for word in ("--accept-gate", gate)]
        options = ["--workspace", str(checkout.workspace), "--threads", "1", "--quiet"]
        done = checkout.python("-m", "posttrain", "run", *command, *gates, *options)
        if done.returncode == 0:
            problem = ""
            break
        refused = _REFUSED.search(done.stderr)
        failed = [gate for gate in _failed_gates(_latest(checkout.workspace)) if gate not in accepted]
        if refused and refused[1] in accepted:
            accepted.remove(refused[1])
        elif failed:
            accepted += failed
        else:
            problem = done.stderr.strip() or f"ended with {done.returncode}"
            break
    latest = _latest(checkout.workspace)
    return Ran(latest if latest != earlier else None, time.monotonic() - began, problem)


def spelled(checkout: Checkout, case: Case) -> list[str]:
    """The recipe and its settings as this checkout calls them: where a table has another name for one, the
    spelling that the checkout's own help lists. Raises ValueError where it lists none.
    """
    renames = checkout.renames
    recipe, listed = case.recipe, None
    if (earlier_name := before(recipe, renames.recipes)) != recipe:
        listed = _help(checkout, recipe)
        recipe = recipe if listed else earlier_name
    words = [recipe]
    for setting in case.settings:
        name, _, value = setting.partition("=")
        value = str(checkout.workspace.parent / RATINGS) if value == RATINGS else value
        spellings = _spellings(name, renames)
        if len(spellings) > 1:
            listed = listed or _help(checkout, recipe)
            name = next((one for one in spellings if re.search(rf"(?m)^\s+{re.escape(one)}=", listed)), "")
        if not name:
            raise ValueError(f"{checkout.label}: {recipe} has none of the settings {', '.join(spellings)}")
        words.append(f"{name}={value}")
    return words


def _spellings(name: str, renames: Renames) -> list[str]:
    """What a setting may be called, NEW's name first; its stage may have another name, or the rest."""
    stage, dot, rest = name.partition(".")
    moved = f"{before(stage, renames.addresses)}.{rest}" if dot else name
    names = (name, before(name, renames.settings), moved, before(moved, renames.settings))
    return list(dict.fromkeys(names))


def _help(checkout: Checkout, recipe: str) -> str:
    """What it says of a recipe, rounds by their bare name; empty where it has none of that name."""
    done = checkout.python("-m", "posttrain", "run", recipe, "--help")
    return re.sub(r"\[\d+\]", "", done.stdout) if done.returncode == 0 else ""


def _latest(workspace: Path) -> Path | None:
    runs = [path.parent for path in workspace.glob("runs/*-*/run.json")]
    return max(runs, key=lambda path: int(path.name.partition("-")[0]), default=None)


def _failed_gates(run_directory: Path | None) -> list[str]:
    """The gates at which a run stopped."""
    if run_directory is None:
        return []
    record = json.loads((run_directory / "run.json").read_text("utf-8"))
    findings = [finding for stage in record["stages"] for finding in stage.get("findings", [])]
    return [f["name"] for f in findings if not f["passed"] and f.get("stops", True)]


def unpacked(repository: Path, commit: str, directory: Path) -> Path:
    """The tree of a commit in ``directory``. It is an archive and no registered worktree, so that a
    run that is killed leaves nothing behind in the repository. Raises ValueError for what is no commit.
    """
    git = ["git", "-C", str(repository)]
    revision = subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"], capture_output=True
    )
    if revision.returncode:
        raise ValueError(f"{commit}: neither a directory with a posttrain in it nor a commit of {repository}")
    archive = subprocess.run(
        [*git, "archive", revision.stdout.decode().strip()], capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tree:
        tree.extractall(directory, filter="data")
    return directory


def build_kernels(root: Path) -> bool:
    """Compile the C sources where a library is absent or older than a source; False where none came of it.

    Both checkouts need the same: PyTorch rounds differently from the kernels.
    """
    sources = [path for suffix in ("c", "h") for path in root.glob(f"posttrain/**/*.{suffix}")]
    if not sources:
        return False
    libraries = list(root.glob("posttrain/**/_*.so"))
    newest = max(path.stat().st_mtime for path in sources)
    if not libraries or min(path.stat().st_mtime for path in libraries) < newest:
        subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            cwd=root,
            capture_output=True,
            check=True,
        )
    return any(root.glob("posttrain/**/_*.so"))
