"""Files that a killed run left, damaged one at a time; the next start makes the same."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from torture_parts.instants import TORN, Instant
from torture_parts.kinds import Kind
from torture_parts.ordeals import Outcome, Say
from torture_parts.process import Options, start
from torture_parts.twins import Twin

Harm = Callable[[], None]


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


WAYS = {"cut": _cut, "a bit of": _flip, "deleted": Path.unlink, "emptied": _empty}


def damaged(kind: Kind, twin: Twin, say: Say, most: int, chance: random.Random) -> Outcome:
    """Kills a run late, and lets it go on from what it left, with one damage each time, at most ``most``
    times: a choice of them, of every way some.
    """
    outcome, left = Outcome("damage"), twin.bench.root / "killed"
    twin.restore()
    ended = start(kind, twin.bench, Options(instant=_late(twin)))
    if not ended.killed:
        outcome.faults.append(f"was not killed: {ended.code} {ended.output[-1000:]}")
        return outcome
    outcome.kills += 1
    outcome.positions[ended.phase] += 1
    shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(twin.bench.workspace, left)
    ways = list(harms(left))
    for number in sorted(chance.sample(range(len(ways)), min(most, len(ways)))):
        twin.restore(left)
        name, harm = list(harms(twin.bench.workspace))[number]
        harm()
        say(f"damage: {name}")
        outcome.where.append(name)
        outcome.compare(twin, start(kind, twin.bench), name)
    return outcome


def _late(twin: Twin) -> Instant:
    """In the middle of the last line of the metrics, or of the last chunk where there are none."""
    for label in ("write metrics.jsonl", "write chunks"):
        if count := twin.operations.get(label):
            return Instant(label=label, number=count, when=TORN)
    raise ValueError("nothing is kept by this kind")


def harms(workspace: Path) -> Iterator[tuple[str, Harm]]:
    """What may be done to the scratch directories of a workspace."""
    scratch = workspace / "scratch"
    files = sorted(path for path in scratch.rglob("*") if path.is_file())
    for path in files:
        for way, harm in WAYS.items():
            yield f"{way} {path.relative_to(scratch)}", lambda path=path, harm=harm: harm(path)  # type: ignore[misc]
    for path in files:
        if path.suffix in (".jsonl", ".chunks"):
            for name, tail in (("a torn line in", b'{"half of a li'), ("zeros in", b"\0" * 4096)):
                yield f"{name} {path.relative_to(scratch)}", lambda path=path, tail=tail: _append(path, tail)  # type: ignore[misc]
    for checkpoints in sorted(scratch.glob("*/checkpoints")):
        newest = max(checkpoints.glob("step-*"))
        bogus = checkpoints / "step-99999999"
        for name, harm in (
            ("an empty newer checkpoint", bogus.mkdir),
            ("a file in place of a newer checkpoint", bogus.touch),
            ("a copy as a newer checkpoint", lambda a=newest, b=bogus: shutil.copytree(a, b)),
            ("a copy with another number", lambda a=newest, b=bogus: _renumbered(a, b)),
            ("a draft as a checkpoint", lambda a=newest: a.rename(a.with_name(f".{a.name}.1"))),
            ("no checkpoint", lambda c=checkpoints: shutil.rmtree(c)),
        ):
            yield name, harm  # type: ignore[misc]
    for one in sorted(scratch.iterdir()):
        yield f"nothing left of {one.name}", lambda one=one: shutil.rmtree(one)  # type: ignore[misc]


def _append(path: Path, tail: bytes) -> None:
    with path.open("ab") as file:
        file.write(tail)


def _renumbered(newest: Path, bogus: Path) -> None:
    """A copy whose manifest says that it is the newer one."""
    shutil.copytree(newest, bogus)
    manifest = bogus / "manifest.json"
    record = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(record | {"updates": 99_999_999}))
