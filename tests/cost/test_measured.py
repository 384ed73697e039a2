"""The operations that stages state are near those that are counted while they work."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, addresses
from posttrain.pipeline.store import Workspace
from posttrain.recipes.instructgpt import instructgpt
from posttrain.settings import expression, parse

ROOT = Path(__file__).resolve().parent.parent.parent
FACTOR = 2.2  # of few rows: those whose answers are equal or tied are left out, answers end early or late
SMALL = [
    *("base.field_guide=false", "demonstrations.rows=40", "demonstrations.heldout=8", "sft.epochs=1"),
    *("prompts.rows=24", "pairs.rows=12", "pairs.heldout=6", "rl.steps=1", "rl.prompts_per_step=16"),
]


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("operations")


@pytest.fixture
def counted(operations: Any, monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Operations by the id of a stage, of those that ran."""
    counts: dict[int, float] = {}

    def watch(kind: type[Stage]) -> None:
        plain = kind.run

        def watched(stage: Stage, inputs: Inputs, output: Path, machine: Machine) -> Report:
            with operations.Operations() as made:
                report = plain(stage, inputs, output, machine)
            counts[id(stage)] = sum(made.count.values())
            return report

        monkeypatch.setattr(kind, "run", watched)

    for kind in {type(stage) for stage in addresses(instructgpt()).values()}:
        watch(kind)
    return counts


@pytest.mark.parametrize(
    "more",
    [[], pytest.param(["rl.method=grpo", "lora=8"], marks=pytest.mark.slow)],
    ids=["ppo", "grpo with adapters"],
)
def test_operations_are_within_a_factor_of_what_is_counted(
    more: list[str], counted: dict[int, float], tmp_path: Path
) -> None:
    recipe = addresses(expression(instructgpt, parse([*SMALL, *more])))["rl"]
    made = run(recipe, Workspace(tmp_path), Machine(quiet=True), accept=None, say=lambda text: None)
    stated = {address: made.products[address].made["estimate"]["operations"] for address in made.products}
    ratios = {
        address: stated[address] / counted[id(stage)]
        for address, stage in addresses(recipe).items()
        if stated[address]
    }
    assert ratios.keys() == {"sft", "pairs", "rm", "rl"}
    assert {address: ratio for address, ratio in ratios.items() if not 1 / FACTOR < ratio < FACTOR} == {}
