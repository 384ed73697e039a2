"""Make the environment that the Makefile's commands run in: a venv, the right torch, this package, extras.

    python3 scripts/set_up.py .venv test,check

What pip says is shown only where it fails. While pip works, a line every half minute says what it is at.

Where no NVIDIA or AMD driver answers, torch comes as its CPU build. PyTorch keeps those on an index of their
own since the default build brings gigabytes of CUDA libraries on Linux.
"""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SIGN_OF_LIFE = 30.0  # seconds
WIDTH = 110


def has_gpu() -> bool:
    """A driver that answers, not a tool that happens to be installed."""
    for command in (["nvidia-smi", "-L"], ["rocm-smi", "-i"]):
        if shutil.which(command[0]) and subprocess.run(command, capture_output=True).returncode == 0:
            return True
    return False


def pinned(package: str) -> str:
    """``package==version`` as constraints.txt pins it."""
    match = re.search(rf"^{package}==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    if match is None:
        raise SystemExit(f"constraints.txt does not pin {package}")
    return match.group()


def pip(python: Path | str, *arguments: str, every: float = SIGN_OF_LIFE) -> None:
    """Install. Every ``every`` seconds the last line of pip's output is printed, with the seconds so far. All
    of the output is printed where pip fails; then SystemExit with pip's own code.
    """
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "pip.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while (code := _ended(process, every)) is None:
            lines = log.read_text(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "pip starts")
            print(f"  {time.monotonic() - began:.0f} s: {last}"[:WIDTH], flush=True)
        if code:
            print(log.read_text(errors="replace"), end="", file=sys.stderr)
            print(
                f"\nset_up.py: this failed, for the reason above:\n  {shlex.join(command)}", file=sys.stderr
            )
            raise SystemExit(code)


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code of a process; None where it still runs after that time."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def main() -> None:
    began = time.monotonic()
    where, extras = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    python = where / "bin" / "python"
    if not python.exists():
        print(f"making {where}", flush=True)
        venv.create(where, with_pip=True)
    cpu_only = platform.system() == "Linux" and not has_gpu()
    have = subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
    if not have:
        size = "the CPU build, some 200 MB" if cpu_only else "the default build, which may be gigabytes"
        print(f"installing {pinned('torch')} ({size})", flush=True)
        cpu = ["--extra-index-url", CPU_INDEX, "--retries", "1", "--timeout", "20"] if cpu_only else []
        pip(python, *cpu, pinned("torch"))
    what = f"{ROOT}[{extras}]" if extras else str(ROOT)
    print(f"installing posttrain{'[' + extras + ']' if extras else ''}", flush=True)
    pip(python, "-c", str(ROOT / "constraints.txt"), "-e", what)
    print(f"ready after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
