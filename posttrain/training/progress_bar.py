"""Progress bars with rate and time left; where no terminal shows one, a text that others may ask for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any, TypeVar

Item = TypeVar("Item")


def show(item: object, names: Iterable[str]) -> dict[str, str]:
    """The named metrics of an item that has them, short enough for a bar."""
    if not isinstance(item, Mapping):
        return {}
    return {name: f"{item[name]:.3g}" for name in names if name in item}


def progress(
    items: Iterable[Item],
    total: int | None = None,
    description: str = "",
    *,
    quiet: bool = False,
    unit: str = "step",
    initial: int = 0,
    done: Callable[[], int] | None = None,
    shown: Iterable[str] = (),
    note: Callable[[Callable[[], str]], None] | None = None,
) -> Iterator[Item]:
    """Pass items through and draw a bar on stderr: units done, rate, time left, and the ``shown`` metrics of
    items that are mappings. An item is a unit, unless ``done`` says after each how many there are by now: a
    step of reinforcement has several updates. Nothing is drawn where ``quiet`` is set or stderr is not a
    terminal; then ``note`` is given the same as a text, at every item once a unit is done.
    """
    counted = done or count(initial + 1).__next__
    names = list(shown)
    if quiet or not sys.stderr.isatty():
        reached, began = initial, time.monotonic()
        so_far = 0.0  # seconds, when the last unit was done
        for item in items:
            if (now := counted()) > reached:
                reached, so_far = now, time.monotonic() - began
            if note is not None and reached > initial:
                each = so_far / (reached - initial)
                note(partial(_bar_text, reached, total, unit, each, show(item, names)))
            yield item
        return
    from tqdm import tqdm

    bar: Any = tqdm(
        total=total, desc=description, unit=unit, initial=initial, dynamic_ncols=True, leave=False
    )
    with bar:
        for item in items:
            bar.set_postfix(show(item, names), refresh=False)
            bar.update(counted() - bar.n)
            yield item


def _bar_text(done: int, total: int | None, unit: str, each: float, metrics: Mapping[str, str]) -> str:
    """``12 of 40 steps, 5.0 s/step, about 2 min left, reward 0.31, kl 1.2``; ``each`` in seconds."""
    rate = f"{each:.1f} s/{unit}" if each >= 1 else f"{1 / each:.1f} {unit}s/s" if each else ""
    parts = [f"{done}{f' of {total}' if total else ''} {unit}s", rate]
    if total and done < total:
        minutes = (total - done) * each / 60
        parts.append(f"about {minutes:.0f} min left" if minutes >= 1 else "less than a minute left")
    return ", ".join([*filter(None, parts), *(f"{name} {value}" for name, value in metrics.items())])
