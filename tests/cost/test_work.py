"""A stage states its work once, from which operations, memory and seconds follow."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from posttrain.cost.sizes import PROCESS, Rows, Size, Tokens
from posttrain.cost.work import CACHE, ModelWork, StageWork, model_written, rows_written
from posttrain.pipeline.stage import Machine

SIZE = Size(parameters=1000, layers=2, width=8, cached=16, vocabulary=50)
ADAPTERS: Any = SimpleNamespace(rank=2, trunk="bfloat16")


def test_the_head_is_read_only_for_what_it_scores() -> None:
    assert SIZE.head == 400
    assert SIZE.operations(Tokens(7)) == 2 * 600 * 7
    assert SIZE.operations(Tokens(7, 3)) == 2 * (600 * 7 + 400 * 3)
    assert SIZE.operations(Tokens(7, 3), depth=0.5) == 2 * (300 * 7 + 400 * 3)


def test_a_prompt_is_read_once_for_all_its_answers() -> None:
    assert Tokens.of_answers(10, 4, 20, 5) == Tokens(400, 200)
    assert 2 * Tokens(3, 1) + Tokens(1, 1) == Tokens(7, 3)


def test_a_backward_pass_is_two_readings_and_with_adapters_one() -> None:
    once = 2 * (600 * 7 + 400 * 7)
    model = ModelWork(size=SIZE, learned=Tokens(7, 7))
    assert model.operations == 3 * once
    assert replace(model, adapters=ADAPTERS).operations == 2 * once
    assert replace(model, read=Tokens(7, 7), sampled=Tokens(14, 14)).operations == 6 * once
    assert replace(model, read=Tokens(5, 1), sampled=Tokens(2, 1)).tokens == 14


def test_what_learns_has_gradient_and_adam_and_what_samples_a_copy() -> None:
    def held(compute: str = "float32", **passes: Any) -> float:
        return ModelWork(size=SIZE, **passes).weights_bytes(compute)

    once = Tokens(1, 1)
    assert held(read=once) == 4 * 1000
    assert held(learned=once) == 16 * 1000
    assert held(learned=once, sampled=once) == 20 * 1000
    assert held("bfloat16", learned=once, sampled=once) == 18 * 1000
    trunk = 4 * 400 + 2 * 600
    assert held(read=once, adapters=ADAPTERS) == trunk
    assert held(learned=once, adapters=ADAPTERS) == trunk + 16 * SIZE.adapters(2)
    # the engine is given merged weights
    assert held(learned=once, sampled=once, adapters=ADAPTERS) == trunk + 16 * SIZE.adapters(2) + 8 * 1000


def test_a_machine_takes_a_minibatch_in_micro_batches() -> None:
    work = StageWork(models=(ModelWork(size=SIZE, learned=Tokens(900)),), minibatch=90.0)
    for machine, tokens in ((Machine(), 90), (Machine(micro_batch_tokens=30), 30)):
        assert work.estimate(machine).bytes == PROCESS + 16 * 1000 + SIZE.activations(tokens)
    less = work.peak_bytes(Machine()) - work.peak_bytes(Machine(recompute=True))
    assert less == SIZE.activations(90) - SIZE.activations(90, recompute=True)


def test_an_engine_holds_the_rows_under_way_and_no_more_than_its_cache() -> None:
    engine = StageWork(models=(ModelWork(size=SIZE, sampled=Tokens(1)),), rows_sampled=10, row_length=5.0)
    without = PROCESS + 2 * 4 * 1000
    assert engine.peak_bytes(Machine()) == without + 2 * 4 * 2 * 16 * 10 * 5
    assert replace(engine, rows_sampled=10**6).peak_bytes(Machine()) == without + 2 * 4 * 2 * 16 * 512 * 5
    assert replace(engine, row_length=1e9).peak_bytes(Machine()) == without + 2 * CACHE


def test_what_no_model_does_takes_seconds() -> None:
    rows = Rows(rows=90, heldout_rows=10, row_tokens=5.0)
    assert rows_written(rows).estimate(Machine()).seconds == pytest.approx(0.01)
    assert rows_written(rows, seconds=3.0).estimate(Machine()).seconds == 3.0
    assert rows_written(rows).estimate(Machine()).expects == rows.figures()
    opened = model_written(SIZE).estimate(Machine())
    assert (opened.bytes, opened.operations, opened.expects) == (PROCESS + 8000, 0.0, SIZE.figures())
