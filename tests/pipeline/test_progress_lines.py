"""The lines of a run: durations, sizes and metrics as people write them."""

from __future__ import annotations

import pytest

from posttrain.pipeline.progress import duration, figure, size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (99.9, "99.9 s"), (100, "1 min 40 s"), (3599, "59 min 59 s"), (7384, "2 h 3 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(999, "999 B"), (1500, "2 KB"), (4.2e6, "4 MB"), (3.25e9, "3.2 GB")]
)
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said


@pytest.mark.parametrize(
    ("value", "said"), [(3.0, "3"), (0.12345, "0.1235"), (7, "7"), ("unknown", "unknown"), (2e7, "2e+07")]
)
def test_metrics(value: float | int | str, said: str) -> None:
    assert figure(value) == said
