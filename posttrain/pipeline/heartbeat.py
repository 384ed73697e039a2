"""A line every half minute of a stage that is at work, while no bar is drawn."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from posttrain.pipeline.progress import duration

EVERY = 30.0  # seconds
Note = Callable[[Callable[[], str]], None]


@contextmanager
def heartbeat(say: Callable[[str], None], quiet: bool, about: float = 0.0) -> Iterator[Note]:
    """Says how long the work inside has taken and what was noted last; until something is noted, of ``about``
    how many seconds, where that is known and not over. Silent where ``quiet``, and while a bar is drawn: a
    stage on a terminal has one in its loop of updates, and none where it samples answers or reads rows.

    What is yielded takes a function that makes the text, which is asked only when a line is due.
    """
    latest: list[Callable[[], str]] = []

    def note(text: Callable[[], str]) -> None:
        latest[:] = [text]

    if quiet:
        yield note
        return
    done, began = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(EVERY):
            if _bar_drawn():
                continue
            spent = time.monotonic() - began
            hoped = f" of about {_plain(about)}" if about > spent else ""
            say(f"{_plain(spent)}, {latest[0]()}" if latest else f"{_plain(spent)}{hoped}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield note
    finally:
        done.set()
        thread.join()


def _bar_drawn() -> bool:
    """Whether tqdm, which need not be imported for it, has a bar on a terminal now."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    return sys.stderr.isatty() and bool(getattr(tqdm, "_instances", ()))


def _plain(seconds: float) -> str:
    return duration(round(seconds)).replace(".0 s", " s")
