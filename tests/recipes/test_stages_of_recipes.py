"""The recipes of several stages, every stage as small as it gets, on a model of a few thousand weights."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage, addresses, nested, rewrite
from posttrain.pipeline.store import Workspace
from posttrain.recipes.best_of_n import best_of_n
from posttrain.recipes.deepseek_r1 import deepseek_r1
from posttrain.recipes.iterated_dpo import iterated_dpo
from posttrain.recipes.rounds import rounds
from posttrain.recipes.tulu3 import tulu3
from posttrain.report.page import html
from posttrain.report.record import RunRecord as Told
from posttrain.rollouts.rejection_rules import random_per_prompt
from posttrain.stages.base import ExistingModel
from posttrain.stages.rejection import RejectionSampling
from tests.stages.test_instructgpt import save_llama

ANSWER = 10  # tokens


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"), letters)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


def small(expression: Stage, source: Path) -> Stage:
    """Every stage's rehearsal, with short answers, and a base that knows nothing."""
    base = ExistingModel(source=SourceFile(str(source)))

    def of(old: Stage, new: Stage) -> Stage:
        if isinstance(old, ExistingModel):
            return base
        found = new.rehearsal()
        if hasattr(found, "max_completion_length"):
            found = replace(found, max_completion_length=ANSWER)  # type: ignore[call-arg]
        if isinstance(found, RejectionSampling) and "random" in old.choose.__name__:  # type: ignore[attr-defined]
            found = replace(found, choose=random_per_prompt)
        return found

    return rewrite(expression, of)


def made(expression: Stage, source: Path, workspace: Path) -> Run:
    machine = Machine(quiet=True, micro_batch_tokens=512)
    return run(small(expression, source), Workspace(workspace), machine, accept=None, say=lambda text: None)


def rows(run: Run, address: str, side: str = "train") -> list[dict[str, Any]]:
    path = run.products[address].path / f"{side}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.slow
def test_the_best_of_n_stands_beside_answers_by_lot(source: Path, workspace: Path) -> None:
    result = made(best_of_n(evidence="full"), source, workspace)
    kept, lot = result.products["rejection"].values, result.products["by_lot"].values
    assert kept["rows"] == lot["rows"]
    assert kept["answers"] == lot["answers"]
    assert kept["kl_bound"] == pytest.approx(math.log(8) - 7 / 8)
    assert "kl_bound" not in lot
    assert kept["reward_drawn"] == lot["reward_drawn"]  # the same answers were judged
    assert float(kept["reward_kept"]) > float(lot["reward_kept"])
    metrics = result.products["evaluate"].values
    assert {"win_rate/best_of_n_vs_sft", "win_rate/best_of_n_vs_random_control", "kl/best_of_n"} <= set(
        metrics
    )
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows(result, "rejection"))


SLOWER = [pytest.param(by, marks=pytest.mark.slow) for by in ("scored_dpo", "rejection")]


@pytest.mark.parametrize("by", ["ppo", "dpo", *SLOWER])
def test_a_round_begins_with_the_policy_of_the_round_before(by: str, source: Path, workspace: Path) -> None:
    result = made(rounds(count=2, by=by, evidence="full"), source, workspace)
    last = {"ppo": "rl", "rejection": "imitation"}.get(by, "alignment")
    begins = "base" if by == "rejection" else "policy"

    def used(address: str, field: str) -> str:
        inputs = result.products[address].made["inputs"]
        return str(next(one["content"] for one in inputs if one["field"] == field))

    first = result.products[f"{last}[1]"].content
    assert used(f"{last}[1]", begins) == used("pairs[1]", "policy") == result.products["sft"].content
    assert used(f"{last}[2]", begins) == used("pairs[2]", "policy") == first
    assert used("frozen_control_pairs", "policy") == result.products["sft"].content
    assert used("frozen_control[2]", begins) == result.products["frozen_control[1]"].content
    if by != "dpo":
        assert result.products["rm[1]"].content != result.products["rm[2]"].content
        assert used("frozen_control_rm", "comparisons") == result.products["frozen_control_labels"].content
        assert sum(name.startswith("frozen_control_rm") for name in result.products) == 1
    if by == "scored_dpo":
        assert used("preferences[2]", "policy") == first
        assert used("preferences[2]", "reward.model") == result.products["rm[2]"].content
        compared = rows(result, "preferences[2]")
        assert compared
        assert all(row["margin"] > 0 and row["chosen"] != row["rejected"] for row in compared)
    metrics = result.products["evaluate"].metrics
    assert metrics["gold_slope"].interval
    assert {"gold_slope", f"win_rate/{last}_2_vs_frozen_control"} <= set(metrics)


def test_the_ablation_has_as_many_labels_in_one_go() -> None:
    stages = addresses(rounds(count=4, evidence="full"))
    fresh = [stage for name, stage in stages.items() if name.startswith("pairs[")]
    assert len(fresh) == 4
    assert stages["frozen_control_pairs"].rows == sum(stage.rows for stage in fresh)  # type: ignore[attr-defined]
    assert len({stages[f"rl[{n}]"].steps for n in range(1, 5)}) == 1  # type: ignore[attr-defined]
    assert "frozen_control[4]" in stages
    read = [stages[f"rm[{n}]"].epochs * n for n in range(1, 5)]  # type: ignore[attr-defined]  # of a round's labels
    assert read == [2, 4, 6, 8]
    assert stages["frozen_control_rm"].epochs * 4 >= sum(read)  # type: ignore[attr-defined]
    assert "frozen_control_rm[2]" not in stages


def test_iterated_dpo_needs_no_reward_model() -> None:
    stages = addresses(iterated_dpo(count=2, evidence="full"))
    assert {"alignment[1]", "alignment[2]", "frozen_control[2]"} <= set(stages)
    assert not any(name.startswith("rm") for name in stages)


@pytest.mark.parametrize(
    ("wish", "told"), [({"by": "sleep"}, "expected one of ppo"), ({"count": 0}, "from 1 to 50 rounds")]
)
def test_a_round_of_another_kind_is_refused(wish: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        rounds(**wish)


def test_the_report_is_made_of_whatever_there_is(source: Path, workspace: Path) -> None:
    result = made(rounds(count=2, by="dpo", evidence="full"), source, workspace)
    result.save("finished")
    told = html(Told.load(result.directory, workspace))
    for name in ("alignment[2]", "frozen_control[2]", "gold_slope".replace("_", " ")):
        assert name in told


def test_tulu3_measures_every_stage(source: Path, workspace: Path) -> None:
    result = made(tulu3(), source, workspace)
    metrics = result.products["evaluate"].values
    for name in ("sft", "alignment", "rl"):
        assert 0 <= float(metrics[f"gold/{name}"]) <= 1
        assert 0 <= float(metrics[f"solved/{name}"]) <= 1
    assert "component_change_worst/rl_vs_alignment" in metrics
    settings = result.products["alignment"].settings["method"]
    assert settings["length_normalised"] is True
    prompts = {json.dumps(row["prompt"]) for row in rows(result, "problems")}
    episodes = [json.loads(line) for line in (result.products["rl"].path / "episodes.jsonl").open()]
    assert {json.dumps(episode["prompt"]["prompt"]) for episode in episodes} <= prompts


def test_deepseek_r1_mixes_three_to_one_and_pays_each_prompt_by_its_own_reward(
    source: Path, workspace: Path
) -> None:
    result = made(deepseek_r1(), source, workspace)
    mixed = result.products["mixture"].values
    reasoning, general = int(mixed["rows/reasoning"]), int(mixed["rows/general"])
    assert abs(reasoning - 0.75 * (reasoning + general)) < 1  # as near as whole rows come
    assert {row["source"] for row in rows(result, "mixture")} == {"reasoning", "general"}
    used = {one["field"]: one["content"] for one in result.products["r1_sft"].made["inputs"]}
    assert used["base"] == result.products["base"].content  # tuned from the base, as in the paper
    episodes = [json.loads(line) for line in (result.products["rl"].path / "episodes.jsonl").open()]
    for episode in episodes:
        verified = "answer" in episode["prompt"]
        assert episode["parts"]["verified/share"] == float(verified)
        assert episode["parts"]["general/share"] == float(not verified)
        paid = episode["parts"]["verified" if verified else "general"]
        assert episode["reward"] == pytest.approx(paid)


@pytest.mark.parametrize(
    "recipe", [best_of_n, tulu3, deepseek_r1, partial(rounds, count=2), partial(iterated_dpo, count=2)]
)
def test_a_recipe_is_also_one_for_the_small_real_model(recipe: Any) -> None:
    expression = recipe(model="smollm2")
    bases = [stage for stage in addresses(expression).values() if not nested(stage)]
    assert "SmolLM2" in {type(stage).__name__ for stage in bases}
