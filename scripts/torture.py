"""Does a run ever lose its work? Recipes made small are killed, their files damaged, their disk filled.

    python scripts/torture.py [--kinds NAME,NAME] [--kills N] [--only ORDEAL,ORDEAL] [--json FILE]

Each kind (--list) is made once without an interruption: its twin. Then, from the same beginning:

  kills       SIGKILL at random instants in time. A run is killed 1 to 8 times, each time the same command
              goes on from what is left, and at the end it is let go.
  operations  SIGKILL before or after the n-th write, fsync, mkdir, rename and so on, or in the middle of a
              write, until every sort of operation was hit.
  damage      each file of what a killed run left is cut, emptied, deleted, or has a bit turned; logs get a
              torn line; directories that are no checkpoints stand where later ones would.
  file size   the process may write files of at most 1 kB, 10 kB, 60 kB, 300 kB, 3 MB, 12 MB.
  full disk   the workspace is on a tmpfs that is too small; it is enlarged, and the same command run again.

After each, every file of every product is compared with the twin's, byte for byte (weights, rows,
metrics.jsonl, episodes.jsonl; not made.json and times.jsonl, which hold times), and the metrics of its
report. Where every update is saved, what was done twice is counted too: answers, updates, rows read and made
tokens; a kill may cost one batch or one chunk.

A start is a process forked from this one, which has imported torch; it runs the code of `posttrain run` with
one thread. Twins are made by a process with another seed of Python's hashes. Ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
PINNED = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
os.environ |= PINNED  # before torch is imported

from torture_parts import damage, limits, ordeals, process, twins  # noqa: E402
from torture_parts.counters import Counters  # noqa: E402
from torture_parts.kinds import KINDS, NAMED, Kind  # noqa: E402
from torture_parts.ordeals import Outcome  # noqa: E402

ORDEALS = ("kills", "operations", "damage", "file size", "full disk")
HEAD = ("KIND", "ORDEAL", "KILLS", "RUNS", "DIFFER", "SECONDS", "LOST A KILL, AT MOST")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 nothing was lost, 1 something differs, 2 a name that is none."""
    options = _options(arguments)
    if options.list:
        for kind in KINDS:
            print(f"{kind.name}: {kind.address or 'all'} of posttrain run {' '.join(kind.words)}")
        return 0
    if strange := [name for name in options.kinds if name not in NAMED] + [
        name for name in options.only if name not in ORDEALS
    ]:
        print(f"torture: {', '.join(strange)}: see --list and --help", file=sys.stderr)
        return 2
    kinds = [NAMED[name] for name in options.kinds] or list(KINDS)
    process.warm()
    if options.twins:
        _make_twins(kinds, options.twins)
        return 0
    with tempfile.TemporaryDirectory(prefix="posttrain-torture-", dir=options.place) as folder:
        return _torture(kinds, Path(folder).resolve(), options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = {"type": lambda text: [one for one in text.split(",") if one], "default": []}
    parser.add_argument("--kinds", metavar="NAMES", help="some of --list, parted by commas", **words)
    parser.add_argument("--only", metavar="ORDEALS", help=f"some of {', '.join(ORDEALS)}", **words)
    parser.add_argument("--kills", type=int, default=30, help="of each sort and kind (default: %(default)s)")
    parser.add_argument("--damages", type=int, default=1000, help="of each kind at most (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was counted, as JSON")
    parser.add_argument(
        "--place", type=Path, metavar="DIR", help="where to work (default: as tempfile has it)"
    )
    parser.add_argument("--verbose", action="store_true", help="a line for each kill and each damage")
    parser.add_argument("--one-process", action="store_true", help="make the twins here: sooner, same hashes")
    parser.add_argument("--list", action="store_true", help="the kinds, as commands")
    parser.add_argument("--twins", type=Path, help=argparse.SUPPRESS)  # makes them there and ends
    return parser.parse_args(arguments)


def _make_twins(kinds: Sequence[Kind], folder: Path) -> None:
    counters = Counters()
    for kind in kinds:
        here = process.Place(folder / kind.name, counters)
        here.root.mkdir()
        ended = twins.make(kind, here, folder / "inputs")
        print(f"{kind.name.ljust(27)} made without an interruption in {ended.seconds:.1f} s", flush=True)


def _torture(kinds: Sequence[Kind], folder: Path, options: argparse.Namespace) -> int:
    began = time.monotonic()
    if options.one_process:
        _make_twins(kinds, folder)
    else:
        names = ",".join(kind.name for kind in kinds)
        command = [sys.executable, str(Path(__file__).resolve()), "--twins", str(folder), "--kinds", names]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    results: dict[str, list[Outcome]] = {}
    wanted = options.only or ORDEALS
    counters, total = Counters(), len(kinds) * len(wanted)
    for kind in kinds:
        twin = twins.load(process.Place(folder / kind.name, counters))
        results[kind.name] = []
        for ordeal in ORDEALS:
            if ordeal not in wanted:
                continue
            started = time.monotonic()
            outcome = _suffer(ordeal, kind, twin, options)
            outcome.seconds = time.monotonic() - started
            results[kind.name].append(outcome)
            done = sum(map(len, results.values()))
            left = (time.monotonic() - began) / done * (total - done) / 60
            print(
                f"[{done}/{total}, {left:.0f} min left] {kind.name}, {ordeal}: {_told(outcome)}", flush=True
            )
    print(f"\n{table(results)}\n\n{positions(results)}")
    faults = [
        f"{name}, {one.name}: {fault}"
        for name, some in results.items()
        for one in some
        for fault in one.faults
    ]
    if options.json:
        by_kind = {name: [one.to_json() for one in some] for name, some in results.items()}
        options.json.write_text(json.dumps({"seed": options.seed, "kinds": by_kind}, indent=1) + "\n")
    print("\n".join(["", *faults]) if faults else "", end="")
    end = f"{len(faults)} things differ" if faults else "every run came to the same bits"
    print(f"\n{end}; {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


def _suffer(ordeal: str, kind: Kind, twin: twins.Twin, options: argparse.Namespace) -> Outcome:
    chance = random.Random(f"{options.seed}:{kind.name}:{ordeal}")
    say: Callable[[str], None] = (lambda text: print(f"  {text}", flush=True)) if options.verbose else _silent
    if ordeal in ("kills", "operations"):
        instants = ordeals.by_time if ordeal == "kills" else ordeals.by_operation
        moments = instants(twin, options.kills, chance)
        return ordeals.killed_again_and_again(ordeal, kind, twin, options.kills, moments, chance, say)
    if ordeal == "damage":
        return damage.damaged(kind, twin, say, options.damages, chance)
    return limits.limited(kind, twin, say) if ordeal == "file size" else limits.full_disk(kind, twin, say)


def _silent(text: str) -> None:
    pass


def _told(outcome: Outcome) -> str:
    if outcome.skipped:
        return outcome.skipped
    pace = f"{outcome.runs} runs compared, {60 * outcome.runs / outcome.seconds:.0f} a minute"
    killed = f"{outcome.kills} kills, " if outcome.kills else ""
    return f"{killed}{pace}, {len(outcome.faults)} differences"


def table(results: dict[str, list[Outcome]]) -> str:
    """A line for each kind and ordeal."""
    rows = [HEAD]
    for name, some in results.items():
        for one in some:
            lost = ", ".join(f"{amount:.1f} {what}" for what, amount in one.lost.items() if amount > 0)
            numbers = (str(one.kills), str(one.runs), str(len(one.faults)), f"{one.seconds:.0f}")
            rows.append((name, one.name, *numbers, one.skipped or lost))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def positions(results: dict[str, list[Outcome]]) -> str:
    """Where the processes were when they were killed, of all kinds together."""
    total = sum((one.positions for some in results.values() for one in some), Counter[str]())
    return "Killed while: " + (", ".join(f"{name} {count}" for name, count in total.most_common()) or "never")


if __name__ == "__main__":
    sys.exit(main())
