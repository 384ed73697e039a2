"""The page of PPO among the examples: short, of the algebra alone, equal to the package, and it learns."""

from __future__ import annotations

import ast
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from posttrain.pipeline.stage import Inputs, Machine, addresses
from posttrain.recipes.cartpole import cartpole

PAGE = Path(__file__).resolve().parent.parent / "examples" / "ppo_on_one_page.py"


@pytest.fixture
def page() -> dict[str, Any]:
    return runpy.run_path(str(PAGE), run_name="page")


def test_it_is_a_page_that_imports_the_algebra_alone() -> None:
    text = PAGE.read_text("utf-8")
    assert len(text.splitlines()) <= 120
    nodes = list(ast.walk(ast.parse(text)))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in modules if name.partition(".")[0] == "posttrain"}
    assert ours
    assert all(name.startswith("posttrain.core.") for name in ours)
    assert {name.partition(".")[0] for name in modules} == {"posttrain", "sys", "numpy", "torch"}


def test_its_first_updates_are_those_of_the_recipe(page: dict[str, Any], tmp_path: Path) -> None:
    """Two batches of plays, 64 updates: both policy and critic to the last bit."""
    learning = replace(addresses(cartpole(seed=5))["rl"], steps=2)  # type: ignore[call-arg]
    learning.run(Inputs({}), tmp_path, Machine(quiet=True))
    expected = load_file(tmp_path / "mlp.safetensors")
    networks, _ = page["train"](steps=2, seed=5)
    found = networks.state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.slow
def test_it_learns_to_balance_the_pole(page: dict[str, Any]) -> None:
    _, history = page["train"](seed=101)
    assert history[0] < 40
    assert sum(history[-5:]) / 5 > 400
