"""The one place that runs a loop: its bar, its logs, its checkpoints, and what a signal asks of it.

A loop is a generator: nothing in it runs before its first item is asked for. So a stage builds everything as
for a fresh start, and what an earlier start saved is loaded here, last.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from posttrain.storage.unfinished import Log, Scratch
from posttrain.training import checkpoint
from posttrain.training.progress_bar import progress

METRICS, TIMES = "metrics.jsonl", "times.jsonl"
SAVING_SHARE = 20  # a save takes at most this part of the time between two
RECORD_SECONDS = 15.0  # between two records of the time spent
LEAST = 30.0  # seconds of work that are worth a save after the last update
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Row = dict[str, Any]


class Resumable(Protocol):
    """What an update changes: tensors, records of ``core.batch``, None, numbers, text, and lists and
    dictionaries of them.
    """

    def state_dict(self) -> dict[str, Any]:
        """All of it that the next update depends on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""


class Running(Protocol):
    """What a run says of how it is to be driven: ``pipeline.machine.Machine`` is one."""

    @property
    def scratch(self) -> Scratch | None: ...
    @property
    def quiet(self) -> bool: ...
    @property
    def note(self) -> Callable[[Callable[[], str]], None] | None: ...


def _same(row: Row) -> Row:
    return row


@dataclass(frozen=True, kw_only=True)
class Driver:
    """Where a loop's logs and checkpoints go, and what the user sees of it.

    ``name``: of the stage. ``total``: units of work, as ``done`` counts them. ``shown``: metrics beside the
    bar. ``scratch``: None saves nothing. ``note``: of ``progress_bar.progress``.
    """

    name: str
    output: Path
    total: int
    scratch: Scratch | None = None
    quiet: bool = False
    note: Callable[[Callable[[], str]], None] | None = None
    shown: Sequence[str] = ()

    @classmethod
    def of(cls, machine: Running, name: str, output: Path, total: int, shown: Sequence[str] = ()) -> Driver:
        """As the machine has it."""
        scratch, quiet, note = machine.scratch, machine.quiet, machine.note
        return cls(
            name=name, output=output, total=total, scratch=scratch, quiet=quiet, note=note, shown=shown
        )

    def log(self, name: str) -> Log:
        """A file of JSON lines that is part of the product; it survives a killed process."""
        return Log(self.output / name if self.scratch is None else self.scratch.file(name))

    def drive(
        self,
        loop: Iterator[Row],
        resumables: Mapping[str, Resumable],
        *,
        done: Callable[[], int] | None = None,
        whole: Callable[[], bool] = lambda: True,
        after: Callable[[Row], Row] = _same,
        ends: Callable[[Row], bool] = lambda row: False,
        logs: Sequence[Log] = (),
    ) -> list[Row]:
        """Runs the loop to its end, from the newest checkpoint where there is one; the lines of
        ``metrics.jsonl``, read back from it, so that a resumed run reports what an uninterrupted one does.

        Args:
            loop: has not begun.
            resumables: all that an update changes.
            done: units of work done so far; None counts updates.
            whole: whether the state may be saved; between two updates on the same batch it may not.
            after: what follows an update; returns the line for the log. It comes before the line is written
                and before anything is saved.
            ends: whether the loop ends with this line, before its own end.
            logs: of :meth:`log`, which ``after`` writes to.

        Raises:
            KeyboardInterrupt, SystemExit: the user stopped it; what was done is saved.
        """
        with ExitStack() as stack:
            metrics, times = (stack.enter_context(self.log(name)) for name in (METRICS, TIMES))
            grown = [metrics, times, *logs]
            saver = Saver(self.scratch, resumables, grown)
            stop = stack.enter_context(StopRequest(self.scratch is not None))
            rows = iter(()) if saver.load() else loop
            count = (lambda: saver.updates) if done is None else done
            bar = progress(
                saver.counted(rows),
                self.total,
                self.name,
                quiet=self.quiet,
                initial=count(),
                done=count,
                shown=self.shown,
                note=self.note,
            )
            for row in bar:
                line = after(row)
                metrics.write([_json({name: x for name, x in line.items() if not _timed(name)})])
                times.write([_json({n: x for n, x in line.items() if _timed(n) or n in ("step", "update")})])
                early = ends(line)
                if not whole():
                    continue
                saver.save(now=stop.asked, ended=early)
                if stop.asked or early:
                    break
            else:
                saver.save(now=stop.asked, ended=True)
            stop.obey()
            self._publish(grown)
            return read_metrics(metrics.path)

    def _publish(self, logs: Sequence[Log]) -> None:
        """Copies the logs into the product. Those in scratch stay: a checkpoint needs them to the end."""
        for log in logs:
            if log.path.parent != self.output:
                shutil.copyfile(log.path, self.output / log.path.name)


class Saver:
    """Counts updates, and saves when it is time."""

    def __init__(
        self, scratch: Scratch | None, resumables: Mapping[str, Resumable], logs: Sequence[Log]
    ) -> None:
        self.scratch, self.resumables, self.logs = scratch, resumables, logs
        self.updates = self.saved = 0
        self.last, self.took = time.monotonic(), 0.0

    def load(self) -> bool:
        """Goes on from the newest checkpoint; whether no update follows it."""
        newest = None if self.scratch is None else checkpoint.load(self.scratch, self.logs)
        for log in self.logs:
            log.cut(newest.sizes.get(log.path.name, 0) if newest else 0)
        if newest is None or self.scratch is None:
            return False
        for name, one in self.resumables.items():
            one.load_state_dict(newest.contents[name])
        self.updates = self.saved = newest.updates
        self.scratch.went_on(f"update {newest.updates}")
        return newest.ended

    def counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Each row, an update counted before it is passed on. The time spent is recorded now and then."""
        recorded = -RECORD_SECONDS
        for row in rows:
            self.updates += 1
            if self.scratch is not None and time.monotonic() - recorded > RECORD_SECONDS:
                recorded = time.monotonic()
                self.scratch.saved()
            yield row

    def save(self, *, now: bool = False, ended: bool = False) -> None:
        """Writes a checkpoint where one is due and there is something new: to write one again, the first
        would have to go. A disk that is full is told, and the next one is tried.
        """
        if self.scratch is None or self.saved == self.updates or not (now or self._due(ended)):
            return
        began = time.monotonic()
        contents = {name: one.state_dict() for name, one in self.resumables.items()}
        try:
            checkpoint.save(self.scratch, self.updates, contents, self.logs, ended)
            self.saved = self.updates
            self.scratch.saved()
        except OSError as error:
            reason = error.strerror or error
            self.scratch.say(f"could not be saved at update {self.updates} ({reason}); the run goes on")
        self.last = time.monotonic()
        self.took = self.last - began

    def _due(self, ended: bool) -> bool:
        assert self.scratch is not None
        since, wanted = time.monotonic() - self.last, self.scratch.save_seconds
        if self.scratch.save_steps and self.updates - self.saved >= self.scratch.save_steps:
            return True
        return since >= (min(wanted, LEAST) if ended else max(wanted, SAVING_SHARE * self.took))


class StopRequest:
    """SIGTERM, SIGHUP and Ctrl-C are noted while the loop is at work, since an interrupted generator cannot
    go on; the second one is obeyed at once.
    """

    def __init__(self, notes: bool) -> None:
        self.received, self._notes = 0, notes and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether the loop is to stop as soon as it can be saved."""
        return self.received != 0

    def __enter__(self) -> StopRequest:
        for number in SIGNALS if self._notes else ():
            if signal.getsignal(number) != signal.SIG_IGN:  # under nohup SIGHUP stays ignored
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def obey(self) -> None:
        """What was asked happens now."""
        self.__exit__()
        if self.received:
            signal.raise_signal(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            self.received = number
            return self.obey()
        self.received = number
        text = "stops when this batch is used up and saved; a second time stops at once, unsaved"
        print(text, file=sys.stderr, flush=True)
        return None


def read_metrics(path: Path) -> list[Row]:
    """The lines of a metrics file; what is null there, a number that was not finite, is NaN here."""
    with path.open(encoding="utf-8") as lines:
        return [
            {name: math.nan if value is None else value for name, value in json.loads(line).items()}
            for line in lines
        ]


def _timed(name: str) -> bool:
    return name.partition("/")[0] == "seconds"


def _json(row: Mapping[str, Any]) -> str:
    """JSON has no NaN and no infinity: both are null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(plain, ensure_ascii=False)
