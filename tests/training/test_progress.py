from __future__ import annotations

import io
import sys

import pytest

from posttrain.training.progress import progress, show


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
    list(progress([{"reward": 1.23456, "kl": 1.0}], 4, "rl", figures=["reward", "absent"]))
    text = out.getvalue()
    assert "rl" in text
    assert "step" in text
    assert "0/4" in text


def test_figures_are_short() -> None:
    assert show({"reward": 1.23456, "kl": 2.0}, ["reward", "absent"]) == {"reward": "1.23"}


def test_where_no_bar_is_drawn_it_can_be_asked_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    now = iter(range(0, 1000, 60))
    monkeypatch.setattr("posttrain.training.progress.time.monotonic", lambda: float(next(now)))
    told: list[str] = []
    items = [{"kl": 0.5}, {"kl": 1.0}, {"kl": 2.0}]
    read = progress(iter(items), 3, "rl", figures=["kl"], note=lambda text: told.append(text()))
    assert list(read) == items
    assert told == [
        "1 of 3 steps, about 2 min left, kl 0.5",
        "2 of 3 steps, about 1 min left, kl 1",
        "3 of 3 steps, kl 2",
    ]


def test_what_is_left_is_never_said_to_be_no_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr("posttrain.training.progress.time.monotonic", lambda: float(next(now)))
    told: list[str] = []
    list(progress(iter([1, 2]), 2, "rl", note=lambda text: told.append(text())))
    assert told == ["1 of 2 steps, less than a minute left", "2 of 2 steps"]
