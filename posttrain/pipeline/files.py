"""Files as the pipeline reads and writes them: regular ones only, JSON of a bounded depth, writes that are
whole or not there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posttrain.pipeline.finding import UserError

OURS = ("run.json", "report.html", "error.txt", "hashes.json", "pins.json")
OLD = 600.0  # seconds
ABANDONED = 24 * 3600  # seconds without a write after which a half-written product is taken to be left
DEEPEST = 64  # levels of lists and objects in a JSON value
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_regular(path: Path, shown: str | Path = "") -> None:
    """Raises UserError for a pipe, a device, a socket or a directory, which could be read for ever; OSError
    where there is nothing.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        raise UserError(f"{shown or path}: {_KINDS.get(kind, 'no file')}, expected a regular file")


def expanded(path: str | Path) -> Path:
    """A path as a person types it. Raises UserError for the home of somebody who is not known, for an empty
    one, which would be the current directory, and for one that no file can have or nobody may look at.
    """
    if not str(path).strip():
        raise UserError(f"{str(path)!r}: an empty path; expected a file or a directory")
    try:
        expansion = Path(path).expanduser()
        if "\0" in str(expansion):
            raise ValueError("a NUL in it")
        expansion.exists()
        return expansion
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{str(path)[:200]!r}: not a path ({why}); expected a file or a directory") from None
    except RuntimeError:
        home = str(path).split("/")[0]
        raise UserError(f"{path}: no home directory is known for {home}; write the path out") from None


def parsed(text: str, constant: Callable[[str], Any] | None = None) -> Any:
    """A JSON value. ``constant`` is called for NaN and Infinity, which are floats without it.

    Raises ValueError, its subclass json.JSONDecodeError for what is no JSON, also for one that is nested more
    than ``DEEPEST`` levels or holds half of a surrogate pair, which no file can.
    """
    try:
        value = json.loads(text, parse_constant=constant)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} levels deep") from None
    if text.count("[") + text.count("{") > DEEPEST and _deeper(value):
        raise ValueError(f"nested more than {DEEPEST} levels deep")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair; the text was cut inside a character") from None
    return value


def _deeper(value: Any) -> bool:
    """Whether a value is nested more than ``DEEPEST`` levels, level by level and not by recursion."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return any(isinstance(one, dict | list) for one in level)


def load_json(path: Path) -> Any:
    """The value of a JSON file. Raises OSError where it cannot be read, UserError where it is no regular
    file, ValueError as ``parsed``.
    """
    check_regular(path)
    return parsed(path.read_text(encoding="utf-8"))


def read_json(path: Path, default: Any) -> Any:
    """The file's value, or the default where there is none, it was cut short or is of another type; for what
    can be learnt again.
    """
    try:
        value = load_json(path)
    except (OSError, ValueError, UserError):
        return default
    return value if isinstance(value, type(default)) else default


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Beside its name first, under one that tells whose it is (``leftovers``); renamed when it is whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def leftovers(directory: Path) -> Iterator[Path]:
    """What ``write_whole`` left in a directory when its process was killed, of files of ours and a while ago:
    the number may be that of a process of another machine.
    """
    for path in directory.glob(".*.*"):
        name, _, owner = path.name[1:].rpartition(".")
        if name not in OURS or not owner.isdecimal():
            continue
        if path.is_file() and time.time() - path.stat().st_mtime > OLD and not alive(int(owner)):
            yield path


def abandoned(directory: Path) -> bool:
    """Whether nothing beneath it was written for a day; some stages write nothing for hours."""
    try:
        newest = max(path.lstat().st_mtime for path in (directory, *directory.rglob("*")))
    except OSError:  # somebody moves it just now
        return False
    return time.time() - newest > ABANDONED


def alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_directory(path: Path) -> None:
    """Raises UserError where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{path}: a file is in the way of this directory; move it or choose another --workspace"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be created ({error.strerror}); choose another --workspace") from None


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Held by one process at a time and let go when it ends, however it ends. Raises UserError naming the
    holder.
    """
    stream = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except OSError:
        held = False
    if not held:  # also where the holder let go and removed the file between our opening and our locking it
        stream.seek(0)
        owner = stream.read().strip() or "unknown"
        stream.close()
        raise UserError(
            f"{what} is being made by process {owner}; wait until it is done, or use another --workspace"
        )
    try:
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        stream.close()
