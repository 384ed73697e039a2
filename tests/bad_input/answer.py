"""What a person is answered with when the command line is given something that cannot be used."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from posttrain import cli


def tree(*roots: Path) -> dict[str, str]:
    """Every path below the roots with what it holds."""
    found = {}
    for root in roots:
        for path in root.rglob("*"):
            kind = "link" if path.is_symlink() else "file" if path.is_file() else "other"
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if kind == "file" else ""
            found[str(path)] = kind + digest
    return found


def answer(arguments: Iterable[str], *roots: Path, made: Iterable[str] = ()) -> str:
    """What is said on the standard error: exit code 2, a sentence, no traceback, nothing written below the
    roots but whole products of the addresses ``made``, and the record of the run that made them.
    """
    before, told = tree(*roots), (io.StringIO(), io.StringIO())
    with redirect_stdout(told[0]), redirect_stderr(told[1]):
        code = cli.main(list(arguments))
    out, said = told[0].getvalue(), told[1].getvalue()
    assert code == 2, (code, said, out)
    assert "Traceback" not in out + said, said
    assert re.search("^posttrain: ", said, re.MULTILINE), said
    after = tree(*roots)
    changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    new = [path for path in changed if not _of_a_run(Path(path), tuple(made))]
    assert new == [], (new, said)
    return said


def _of_a_run(path: Path, made: tuple[str, ...]) -> bool:
    """Whether it is of what a run that stopped later may leave in ``workspace``."""
    if not made or "workspace" not in path.parts:
        return False
    inside = path.parts[path.parts.index("workspace") + 1 :]
    if inside[:1] == ("products",):
        return len(inside) == 1 or inside[1].rpartition("-")[0] in made
    return inside[:1] in ((), ("runs",), ("pins.json",), ("hashes.json",))


def tells(said: str, *parts: str, case: object = "") -> None:
    """Each part, a regular expression, is in what was said: file, row, field, expectation, fix."""
    for part in parts:
        assert re.search(part, said), (case, part, said)


Answer = Callable[..., str]
