"""Methods that rank the policy's own answers, in the stage of reinforcement, by their names."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.nash_md import NashMD
from posttrain.policy_gradients.online_dpo import OnlineDPO
from posttrain.policy_gradients.xpo import XPO
from posttrain.recipes.instructgpt import instructgpt
from posttrain.settings import expression, parse
from posttrain.stages.rl import Reinforcement
from tests.stages.test_instructgpt import make, recipe, save_llama


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"), letters)


@pytest.mark.parametrize("method", [OnlineDPO(), XPO(), NashMD()], ids=lambda m: type(m).__name__)
def test_it_ranks_its_own_answers(method: Any, source: Path, workspace: Path) -> None:
    whole = recipe(source)
    assert isinstance(whole.final, Reinforcement)
    stage: Stage = replace(whole.final, method=method, critic=None)
    product = make(replace(whole, final=stage), workspace).products["rl"]
    rows = [json.loads(line) for line in (product.path / "metrics.jsonl").open()]
    assert {row["step"] for row in rows} == {1, 2}
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert product.values["kl_start"] == 0.0
    if isinstance(method, OnlineDPO):
        assert rows[0]["pair_loss"] == pytest.approx(math.log(2), abs=1e-5), "it begins at its reference"


def test_they_are_found_by_their_names() -> None:
    for name, kind in (("online_dpo", OnlineDPO), ("xpo", XPO), ("nash_md", NashMD)):
        told: Any = expression(instructgpt, parse([f"rl.method={name}"]))
        assert isinstance(told.final.method, kind)
        assert told.final.batch_shape[1] > 1
    told = expression(instructgpt, parse(["rl.method=online_dpo", "rl.method.alignment=ipo"]))
    assert type(told.final.method.alignment).__name__ == "IPO"
