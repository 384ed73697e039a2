"""A product that other code made is named, and nothing is thrown away for it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from posttrain.core.kl import KLInReward, k2
from posttrain.pipeline.code import changed, code
from posttrain.pipeline.plan import plan
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.stage import Machine, addresses
from posttrain.pipeline.store import Workspace, sealed
from posttrain.policy_gradients.ppo import PPO
from posttrain.recipes.instructgpt import instructgpt
from posttrain.stages.demonstrations import ConstraintDemonstrations

SMALL = ConstraintDemonstrations(rows=4, heldout=2)


def go(tmp_path: Path, said: list[str]) -> Run:
    return run(SMALL, Workspace(tmp_path / "work"), Machine(), say=said.append)


def test_a_stage_is_made_of_the_modules_it_reaches_and_of_no_others() -> None:
    stages = addresses(instructgpt())
    rl, sft = code(stages["rl"]), code(stages["sft"])
    for name in ("posttrain.stages.rl", "posttrain.policy_gradients.ppo", "posttrain.training.update"):
        assert name in rl, name
    assert "posttrain.rewards.learned" in rl  # by what the recipe put in a field
    assert "posttrain.direct_alignment.sft" in sft
    for name in (
        "posttrain.policy_gradients.ppo",
        "posttrain.stages.rl",
        "posttrain.pipeline.stage",
        "posttrain.cli",
    ):
        assert name not in sft, name
    assert "field_guide/entities.jsonl" in code(stages["demonstrations"])


def test_a_method_chosen_by_name_counts(tmp_path: Path) -> None:
    rl = addresses(instructgpt())["rl"]
    other = replace(rl, method=PPO(kl=KLInReward(estimator=k2)))  # type: ignore[call-arg]
    assert "posttrain.core.kl" in code(other)


def test_a_product_of_other_code_stays_and_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    product = go(tmp_path, said).products["demonstrations"]
    assert changed(product.made, SMALL) == []
    assert go(tmp_path, said).made == []
    assert not any("earlier code" in line for line in said)
    hashes = {**product.made["code"], "posttrain.data.constraint_prompts": "0" * 12}
    (product.path / "made.json").write_text(json.dumps(sealed({**product.made, "code": hashes})))
    result = go(tmp_path, said)
    assert result.made == []
    assert any("by earlier code: posttrain.data.constraint_prompts changed since" in line for line in said)
    assert result.record["stages"][0]["changed_since"] == ["posttrain.data.constraint_prompts"]
    assert plan(SMALL, Workspace(tmp_path / "work"), Machine())[0].state == "cached, by earlier code"


@pytest.mark.parametrize("known", [None, {}])
def test_a_product_from_before_code_was_written_down_is_of_earlier_code(
    tmp_path: Path, known: object
) -> None:
    product = go(tmp_path, []).products["demonstrations"]
    made = {**product.made, "code": known}
    assert changed(made, SMALL)
