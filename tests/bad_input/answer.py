"""What a person is answered with when the command line is given something that cannot be used."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain import cli


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and its standard output and standard error."""

    code: int
    out: str
    err: str


HALF = (".making-", ".stale-", "posttrain-doctor-")  # what a command removes at its end


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
    return outcome(arguments, *roots, made=made, codes=(2,)).err


def accepted(arguments: Iterable[str], *roots: Path) -> str:
    """What is said on the standard output of a command that has nothing to refuse: exit code 0, no
    traceback, no half-written product below the roots.
    """
    return outcome(arguments, *roots, codes=(0,)).out


def outcome(
    arguments: Iterable[str], *roots: Path, made: Iterable[str] = (), codes: Collection[int] = (0, 2)
) -> Outcome:
    """How a command ended in this process, held to ``answer`` where it refuses, else to ``accepted``."""
    before, told = tree(*roots), (io.StringIO(), io.StringIO())
    with redirect_stdout(told[0]), redirect_stderr(told[1]):
        code = cli.main(list(arguments))
    ended = Outcome(code, told[0].getvalue(), told[1].getvalue())
    held(ended, codes, *roots)
    if code == 2:
        after = tree(*roots)
        changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
        new = [path for path in changed if not _of_a_run(Path(path), tuple(made))]
        assert new == [], (new, ended.err)
    return ended


def held(ended: Outcome, codes: Collection[int], *roots: Path) -> None:
    """One of the exit codes, no traceback, a sentence unless the code is 0, and nothing half-written."""
    assert ended.code in codes, ended
    assert "Traceback" not in ended.out + ended.err, ended.err
    assert ended.code == 0 or re.search("^posttrain: ", ended.err, re.MULTILINE), ended.err
    half = [path for root in roots for path in root.rglob("*") if path.name.startswith(HALF)]
    assert half == [], (half, ended.err)


def refused_over_http(status: int, body: dict[str, Any], field: str) -> str:
    """The message of a request's refusal in OpenAI's form: status 400, the field, a sentence."""
    assert status == 400, (status, body)
    error = body["error"]
    assert error["type"] == "invalid_request_error", error
    assert error["param"] == (field or None), error
    assert "Traceback" not in error["message"], error
    return str(error["message"])


def answered_over_http(status: int, body: dict[str, Any]) -> str:
    """The text of an answer: status 200, whole characters, no error beside it."""
    assert status == 200, (status, body)
    assert "error" not in body, body
    text = str(body["choices"][0]["message"]["content"])
    assert text.encode(), body
    assert body["usage"]["completion_tokens"] > 0, body
    return text


def _of_a_run(path: Path, made: tuple[str, ...]) -> bool:
    """Whether it is of what a run that stopped later may leave in ``workspace``."""
    if path.name == "hashes.json":  # what was learnt about files that were read
        return True
    if not made or "workspace" not in path.parts:
        return False
    inside = path.parts[path.parts.index("workspace") + 1 :]
    if inside[:1] == ("products",):
        return len(inside) == 1 or inside[1].rpartition("-")[0] in made
    return inside[:1] in ((), ("runs",), ("pins.json",))


def tells(said: str, *parts: str, case: object = "") -> None:
    """Each part, a regular expression, is in what was said: file, row, field, expectation, fix."""
    for part in parts:
        assert re.search(part, said), (case, part, said)


Answer = Callable[..., str]
