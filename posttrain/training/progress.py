"""Progress bars with rate and time left; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
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
) -> Iterator[Item]:
    """Pass items through and draw a bar on stderr: done, rate, time left, and the named figures of items that
    are mappings. Nothing is drawn where ``quiet`` is set or stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield from items
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
