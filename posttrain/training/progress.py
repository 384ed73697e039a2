"""Progress bars with rate and time left; where no terminal shows one, a text that others may ask for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

Item = TypeVar("Item")


def show(figures: Mapping[str, float], names: Iterable[str]) -> dict[str, str]:
    """The named figures that are there, short enough for a bar."""
    return {name: f"{figures[name]:.3g}" for name in names if name in figures}


def progress(  # size: what a bar says
    items: Iterable[Item],
    total: int | None = None,
    description: str = "",
    *,
    quiet: bool = False,
    unit: str = "step",
    initial: int = 0,
    figures: Iterable[str] = (),
    note: Callable[[Callable[[], str]], None] | None = None,
) -> Iterator[Item]:
    """Pass items through and draw a bar on stderr: done, rate, time left, and the named figures of items that
    are mappings. Nothing is drawn where ``quiet`` is set or stderr is not a terminal; then ``note`` is given
    the same as a text, at every item."""
    if quiet or not sys.stderr.isatty():
        shown, began = list(figures), time.monotonic()
        for done, item in enumerate(items, initial + 1):
            if note is not None:
                note(partial(_told, done - initial, done, total, unit, item, shown, began))
            yield item
        return
    from tqdm import tqdm

    names = list(figures)
    bar: Any = tqdm(
        total=total, desc=description, unit=unit, initial=initial, dynamic_ncols=True, leave=False
    )
    with bar:
        for item in items:
            if names and isinstance(item, Mapping):
                bar.set_postfix(show(item, names), refresh=False)
            bar.update()
            yield item


def _told(  # size: what a line says
    new: int, done: int, total: int | None, unit: str, item: object, shown: list[str], began: float
) -> str:
    """``12 of 40 steps, 3 min left, reward 0.31, kl 1.2``."""
    parts = [f"{done}{f' of {total}' if total else ''} {unit}s"]
    if total and done < total:
        minutes = (total - done) * (time.monotonic() - began) / new / 60
        parts.append(f"about {minutes:.0f} min left" if minutes >= 1 else "less than a minute left")
    if isinstance(item, Mapping):
        parts += [f"{name} {value}" for name, value in show(item, shown).items()]
    return ", ".join(parts)
