"""When a process is killed: at an instant in time, or at its n-th write, fsync, mkdir or rename."""

from __future__ import annotations

import builtins
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

BEFORE, AFTER, TORN = "before", "after", "half of"
PACKAGE = f"{os.sep}posttrain{os.sep}"
# The innermost frame of which one of these is part says what the process did.
RULES = (
    ("saving", ("checkpoint.py:save", "chunks.py:_keep", "attempts.py:record", "drive.py:save")),
    ("loading", ("checkpoint.py:load", "drive.py:load", "chunks.py:_kept")),
    (
        "finishing",
        ("store.py:finish", "drive.py:_publish", "roles.py:save", "mlp.py:save", "attempts.py:remove"),
    ),
    ("updating", ("training/update.py:", "training/optimizer.py:step")),
    ("scoring", ("posttrain/rewards/", "sample.py:rewards_of", "online_reward.py:")),
    ("sampling", ("sample.py:sample", "collect.py:_", "posttrain/engines/", "play.py:", "waves.py:")),
    ("reading", ("language_policy.py:", "rl_loop.py:", "batched_eval.py:")),
)


@dataclass(frozen=True)
class Instant:
    """After ``seconds``; or at the ``number``-th operation that ``label`` names, counted from 1: ``when`` is
    BEFORE or AFTER it, or TORN, after half of what is written.
    """

    seconds: float | None = None
    label: str = ""
    number: int = 0
    when: str = BEFORE


def position(frame: FrameType | None, phase: str) -> tuple[str, str]:
    """What a process did by its innermost frames: a word for it, and the frames of this package."""
    frames = []
    while frame is not None:
        path = frame.f_code.co_filename
        if PACKAGE in path:
            frames.append(f"posttrain/{path.rpartition(PACKAGE)[2]}:{frame.f_code.co_name}")
        frame = frame.f_back
    shown = " < ".join(one.removeprefix("posttrain/") for one in frames[:4])
    if not any("runner.py:_make" in one for one in frames):
        return "between stages", shown
    for one in frames:
        for name, parts in RULES:
            if any(part in one for part in parts):
                return name, shown
    return {"set-up": "set-up", "loop": "between updates", "finishing": "finishing"}[phase], shown


def kill(note: Path, position_of: tuple[str, str]) -> None:
    """Writes where the process is, then ends it as a power switch would."""
    descriptor = _open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    _write(descriptor, "\n".join(position_of).encode())
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


_open, _write = os.open, os.write  # those that are not watched


def kill_after(seconds: float, note: Path, phase: Callable[[], str]) -> None:
    """A thread that ends the process."""
    main = threading.main_thread().ident

    def wait() -> None:
        time.sleep(seconds)
        kill(note, position(sys._current_frames().get(main or 0), phase()))

    threading.Thread(target=wait, daemon=True).start()


class Operations:
    """Every operation on files of a process: counted by its label, and at one of them the process is killed.

    A label says what is done to what: ``fsync checkpoint``, ``mkdir scratch``, ``write metrics.jsonl``.
    """

    def __init__(self, instant: Instant | None, note: Path, phase: Callable[[], str]) -> None:
        self.instant, self.note, self.phase = instant, note, phase
        self.counts: Counter[str] = Counter()

    def watch(self) -> None:
        """From now on, and to the end of the process."""
        import safetensors.torch

        from posttrain.training import checkpoint

        for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync"):
            setattr(os, name, self._watched(name, getattr(os, name)))
        os.write = self._written  # type: ignore[assignment]
        save = self._watched("write", safetensors.torch.save_file, argument=1)
        safetensors.torch.save_file = checkpoint.save_file = save
        opened = builtins.open

        def opens(file: Any, mode: str = "r", *given: Any, **more: Any) -> Any:
            if mode[0] in "wx" and not isinstance(file, int):
                self._at(f"open {described(file)}", BEFORE)
            return opened(file, mode, *given, **more)

        builtins.open = opens
        text = Path.write_text

        def write_text(path: Path, data: str, *given: Any, **more: Any) -> int:
            label = f"write {described(path)}"
            self._at(label, BEFORE, lambda: text(path, data[: len(data) // 2], *given, **more))
            size = text(path, data, *given, **more)
            self._at(label, AFTER)
            return size

        Path.write_text = write_text  # type: ignore[method-assign]

    def _watched(self, name: str, original: Any, argument: int = 0) -> Any:
        def operation(*given: Any, **more: Any) -> Any:
            label = f"{name} {described(given[argument])}"
            self._at(label, BEFORE)
            result = original(*given, **more)
            self._at(label, AFTER)
            return result

        return operation

    def _written(self, descriptor: int, data: bytes) -> int:
        label = f"write {described(descriptor)}"
        self._at(label, BEFORE, lambda: _write(descriptor, data[: len(data) // 2]))
        size = _write(descriptor, data)
        self._at(label, AFTER)
        return size

    def _at(self, label: str, when: str, half: Callable[[], Any] | None = None) -> None:
        if when == BEFORE:
            self.counts[label] += 1
        wanted = self.instant
        if wanted is None or wanted.label != label or self.counts[label] != wanted.number:
            return
        if wanted.when == when or (wanted.when == TORN and when == BEFORE):
            if wanted.when == TORN and half is not None:
                half()
            where = position(sys._getframe(1), self.phase())
            kill(self.note, (where[0], f"{wanted.when} {label} {wanted.number}: {where[1]}"))


def described(file: Any) -> str:
    """What a path or a descriptor is of: a checkpoint, a product, a log by its name, and so on."""
    try:
        path = Path(os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.fsdecode(file))
    except (OSError, TypeError):
        return "other"
    parts = path.parts
    if "checkpoints" in parts:
        return "checkpoint"
    if path.suffix == ".chunks":
        return "chunks"
    for name in ("metrics.jsonl", "times.jsonl", "episodes.jsonl", "attempts.json", "made.json", "run.json"):
        if name in path.name:
            return name
    for name in ("scratch", "runs", "products"):
        if name in parts:
            return {"scratch": "scratch", "runs": "record", "products": "product"}[name]
    return "other"
