"""What a stage has done so far, kept on disk until its product is finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from posttrain.storage.durable import flush

DAMAGED = "damaged-"  # how the name of a file or directory begins that was set aside
SAVE_SECONDS, SAVE_STEPS, KEEP_LAST = 300.0, 0, 2


class Scratch:
    """The directory in which one stage keeps its checkpoints and chunks. It outlives a killed process and is
    removed when the product is finished.

    Args:
        directory: it exists.
        identity: hash of all that the stage reads. What was kept under another one is not used.
        save_seconds: between checkpoints. save_steps: updates between checkpoints; 0 counts none.
        keep_last: checkpoints that are kept.
        say: tells the user one line.
        saved: called after each write, so that the time spent so far is recorded.
    """

    def __init__(
        self,
        directory: Path,
        identity: str,
        *,
        save_seconds: float = SAVE_SECONDS,
        save_steps: int = SAVE_STEPS,
        keep_last: int = KEEP_LAST,
        say: Callable[[str], None] = lambda text: None,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory, self.identity = directory, identity
        self.save_seconds, self.save_steps, self.keep_last = save_seconds, save_steps, keep_last
        self.say, self.saved = say, saved
        self.resumed: list[str] = []  # what this start went on from
        self._names: set[str] = set()

    def file(self, name: str) -> Path:
        """The path of what is kept under ``name``. Raises ValueError for a name that is asked for twice: two
        pieces of work would overwrite each other.
        """
        if name in self._names:
            raise ValueError(f"{name!r} is kept twice by one stage; give each piece of work its own name")
        self._names.add(name)
        path = self.directory / name
        if path.exists() and not path.is_file():  # a pipe could be read for ever
            self.set_aside(path, "it is no regular file")
        return path

    def went_on(self, what: str) -> None:
        """Tells the user what an earlier start left and this one goes on from, and remembers it."""
        self.resumed.append(what)
        self.say(f"goes on from {what}")

    def set_aside(self, path: Path, why: str) -> None:
        """Renames what cannot be used, so that nothing reads it again, and says so."""
        number = 1
        while (damaged := path.with_name(f"{DAMAGED}{number}-{path.name.removeprefix('.')}")).exists():
            number += 1
        path.rename(damaged)
        flush(path.parent)
        self.say(f"{path}: {why}; it is not used and was set aside as {damaged.name}")


class Log:
    """A file of JSON lines that only grows; where work is resumed it is cut back to a checkpoint's length.

    A line is one write, so that a killed process leaves at most one torn line, the last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self._descriptor).st_size

    def write(self, lines: Iterable[str]) -> None:
        """Adds lines. Raises OSError where they do not fit; then nothing of them stays."""
        data = "".join(f"{line}\n" for line in lines).encode()
        before = self.size
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise

    def cut(self, size: int) -> None:
        """Removes all after the first ``size`` bytes."""
        os.ftruncate(self._descriptor, size)

    def flush(self) -> None:
        """To the disk. Raises OSError."""
        os.fsync(self._descriptor)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
