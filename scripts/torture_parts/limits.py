"""A start that may not write enough: files of a limited size, and a disk that is really full."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from torture_parts.kinds import Kind
from torture_parts.ordeals import Outcome, Say
from torture_parts.process import Options, start
from torture_parts.twins import Twin, elsewhere

FILE_SIZES = (1_000, 10_000, 60_000, 300_000, 3_000_000, 12_000_000)  # bytes
ROOM = (0.02, 0.1, 0.3, 0.6, 0.9)  # of what a whole run needs on its disk
MENDED = "2g"
ENDS = (0, 2)  # done, or a sentence about the disk; anything else is a fault of posttrain


def limited(kind: Kind, twin: Twin, say: Say) -> Outcome:
    """A start under each limit of RLIMIT_FSIZE, then one without a limit."""
    outcome = Outcome("file size")
    for size in FILE_SIZES:
        twin.restore()
        ended = start(kind, twin.bench, Options(file_size=size))
        line = f"files of at most {size:,} bytes: ended with {ended.code}"
        say(line)
        outcome.where.append(line)
        if ended.code not in ENDS:
            outcome.faults.append(f"{line}\n{ended.output[-1500:]}")
        outcome.compare(twin, start(kind, twin.bench), line)
    return outcome


def full_disk(kind: Kind, twin: Twin, say: Say) -> Outcome:
    """A start on a file system that is too small, then one when it was enlarged."""
    outcome, disk = Outcome("full disk"), twin.bench.root / "disk"
    disk.mkdir(exist_ok=True)
    small = elsewhere(twin, disk / "workspace")
    need = _size(twin.products) * 5 + 2_000_000
    for share in ROOM:
        size = _size(twin.fresh) + int(need * share)
        mounted = _mount(disk, f"size={size // 1024 + 64}k")
        if mounted:
            outcome.skipped = f"no tmpfs can be mounted here: {mounted}"
            return outcome
        try:
            small.restore()
            ended = start(kind, small.bench)
            line = f"{size / 1e6:.1f} MB of disk: ended with {ended.code}"
            say(line)
            outcome.where.append(line)
            if ended.code not in ENDS:
                outcome.faults.append(f"{line}\n{ended.output[-1500:]}")
            _mount(disk, f"remount,size={MENDED}")
            outcome.compare(small, start(kind, small.bench), line)
        finally:
            subprocess.run(["umount", str(disk)], check=False, capture_output=True)
    return outcome


def _size(directory: Path) -> int:
    """Bytes of the files in it, in blocks of a page."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in directory.rglob("*"))


def _mount(disk: Path, options: str) -> str:
    """Why it could not be mounted; empty where it was."""
    if shutil.which("mount") is None:
        return "there is no mount"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr.strip()
