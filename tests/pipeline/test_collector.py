"""Large imports leave the collector as it was, and out of what it reads again."""

from __future__ import annotations

import gc

import pytest

from posttrain.pipeline.collector import uncollected


def fail() -> None:
    assert not gc.isenabled()
    raise ImportError


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_goes_on_as_before_also_after_an_error(on: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        with pytest.raises(ImportError), uncollected():
            fail()
        assert gc.isenabled() is on
    finally:
        (gc.enable if was else gc.disable)()


def test_what_was_made_inside_is_not_read_again() -> None:
    before = gc.get_freeze_count()
    with uncollected():
        kept = [[i] for i in range(1000)]
    try:
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.unfreeze()
