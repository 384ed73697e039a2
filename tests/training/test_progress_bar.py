from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from functools import partialmethod

import pytest
from tqdm import tqdm

from posttrain.training.progress_bar import progress, show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [True, False])
def test_it_passes_items_through_and_is_silent_where_nobody_watches(
    quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Terminal() if quiet else io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    assert list(progress(iter(range(3)), 3, quiet=quiet)) == [0, 1, 2]
    assert not out.getvalue()


def test_it_shows_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    list(progress([{"reward": 1.23456, "kl": 1.0}], 4, "rl", shown=["reward", "absent"]))
    text = out.getvalue()
    assert "rl" in text
    assert "step" in text
    assert "0/4" in text


def test_metrics_are_short() -> None:
    assert show({"reward": 1.23456, "kl": 2.0}, ["reward", "absent"]) == {"reward": "1.23"}


def test_where_no_bar_is_drawn_it_can_be_asked_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    now = iter(range(0, 1000, 60))
    monkeypatch.setattr("posttrain.training.progress_bar.time.monotonic", lambda: float(next(now)))
    told: list[str] = []
    items = [{"kl": 0.5}, {"kl": 1.0}, {"kl": 2.0}]
    read = progress(iter(items), 3, "rl", shown=["kl"], note=lambda text: told.append(text()))
    assert list(read) == items
    assert told == [
        "1 of 3 steps, 60.0 s/step, about 2 min left, kl 0.5",
        "2 of 3 steps, 60.0 s/step, about 1 min left, kl 1",
        "3 of 3 steps, 60.0 s/step, kl 2",
    ]


def test_what_is_left_is_never_said_to_be_no_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    now = iter([0.0, 0.25, 0.5])
    monkeypatch.setattr("posttrain.training.progress_bar.time.monotonic", lambda: next(now))
    told: list[str] = []
    list(progress(iter([1, 2]), 2, "rl", note=lambda text: told.append(text())))
    assert told == ["1 of 2 steps, 4.0 steps/s, less than a minute left", "2 of 2 steps, 4.0 steps/s"]


def steps_of_two_updates() -> tuple[Iterator[dict[str, float]], Callable[[], int]]:
    """Six updates of three steps, and how many steps are done."""
    made: list[int] = []

    def items() -> Iterator[dict[str, float]]:
        for update in range(6):
            made.append(update)
            yield {"kl": update}

    return items(), lambda: len(made) // 2


def test_a_line_counts_what_is_done_and_not_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    now = iter(range(0, 1000, 60))  # asked for at the begin, and when a step is done
    monkeypatch.setattr("posttrain.training.progress_bar.time.monotonic", lambda: float(next(now)))
    told: list[str] = []
    items, done = steps_of_two_updates()
    read = progress(items, 3, "rl", done=done, shown=["kl"], note=lambda text: told.append(text()))
    assert len(list(read)) == 6
    assert told == [
        "1 of 3 steps, 60.0 s/step, about 2 min left, kl 1",
        "1 of 3 steps, 60.0 s/step, about 2 min left, kl 2",
        "2 of 3 steps, 60.0 s/step, about 1 min left, kl 3",
        "2 of 3 steps, 60.0 s/step, about 1 min left, kl 4",
        "3 of 3 steps, 60.0 s/step, kl 5",
    ]


def test_the_bar_counts_what_is_done_and_not_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr("tqdm.tqdm.__init__", partialmethod(tqdm.__init__, mininterval=0, miniters=1))
    items, done = steps_of_two_updates()
    list(progress(items, 3, "rl", done=done))
    assert re.findall(r"(\d)/3 ", out.getvalue()) == ["0", "1", "2", "3"]
