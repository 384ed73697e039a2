"""What a stage cannot do with a family of models is one sentence before anything is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posttrain.checks.model_fits import check
from posttrain.models.loading import load_causal_lm
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.prompts import PromptRows
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from tests.models.families import FAMILIES, UNSAMPLED, WITHOUT_SCALAR

FILE = SourceFile("rows.jsonl", "datasets")
BASE = ExistingModel(source=SourceFile("somewhere"))
ASKED = PromptRows(source=FILE)
COMPARED = ComparisonRows(source=FILE)
FITTED: dict[str, Stage] = {
    "sft": InstructionTuning(base=BASE, demonstrations=COMPARED, max_length=20),
    "dpo": Alignment(policy=BASE, comparisons=COMPARED, max_length=20),
}
SCALAR: dict[str, Stage] = {"rm": RewardModeling(base=BASE, comparisons=COMPARED, max_length=20)}
SAMPLED: dict[str, Stage] = {
    "grpo": Reinforcement(
        policy=BASE, reward=ExactAnswer(), prompts=ASKED, method=GRPO(), max_completion_length=16
    )
}
BOTH: dict[str, Stage] = {
    "ppo": Reinforcement(policy=BASE, reward=ExactAnswer(), prompts=ASKED, max_completion_length=16)
}


def refused(stage: Stage, directory: Path) -> str:
    try:
        assert all(found.passed for found in check(stage, directory))
    except UserError as told:
        return str(told)
    return ""


@pytest.mark.parametrize("family", [*FAMILIES, *UNSAMPLED])
def test_each_stage_says_whether_it_can_use_a_family(family: str, tmp_path: Path) -> None:
    config = {**FAMILIES, **UNSAMPLED}[family]()
    config.save_pretrained(tmp_path)
    said = {name: refused(stage, tmp_path) for name, stage in (FITTED | SCALAR | SAMPLED | BOTH).items()}
    assert not said["sft"]
    assert not said["dpo"]
    scalar, sampled = family not in (*WITHOUT_SCALAR, "mamba"), family not in UNSAMPLED
    assert bool(said["rm"]) == (not scalar)
    assert bool(said["grpo"]) == (not sampled)
    assert bool(said["ppo"]) == (not (scalar and sampled))
    for text in filter(None, said.values()):
        assert config.model_type in text
        assert str(tmp_path) in text
        assert "\n" not in text
    if not scalar:
        assert "judge_share=0" in said["rm"]
    if not sampled:
        assert "docs/models.md" in said["grpo"]


def test_a_family_that_transformers_does_not_know_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nobodys"}), "utf-8")
    with pytest.raises(UserError, match="nobodys") as told:
        check(SCALAR["rm"], tmp_path)
    assert "\n" not in str(told.value)


def test_a_reward_model_neither_talks_nor_begins_a_recipe(tmp_path: Path) -> None:
    config = FAMILIES["llama"]()
    config.architectures = ["LlamaForSequenceClassification"]
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    from posttrain.pipeline.stage import Inputs, Machine

    with pytest.raises(UserError, match="scores answers and cannot write any"):
        load_causal_lm(tmp_path)
    with pytest.raises(UserError, match="scores answers and cannot write any"):
        ExistingModel(source=SourceFile(str(tmp_path))).preflight(Inputs({}), Machine())
