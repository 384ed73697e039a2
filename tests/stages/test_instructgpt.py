"""The whole recipe on a model of a few thousand weights: what it makes, makes again, and makes the same."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from posttrain.core.kl import KLInReward
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.ppo import PPO
from posttrain.rewards.learned import LearnedReward
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import FieldGuideDemonstrations
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import Annotation
from posttrain.stages.pairs import ComparisonPairs
from posttrain.stages.prompts import FieldGuidePrompts
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from posttrain.storage.durable import hash_file
from tests.declared_metrics import undeclared

ANSWER = 12  # tokens


def save_llama(directory: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def recipe(source: Path, lora: Any = None) -> HeldoutEvaluation:
    """The stages of ``recipes/instructgpt.py`` in their smallest sizes."""
    shared: dict[str, Any] = {"seed": 3, "lora": lora}
    base = ExistingModel(source=SourceFile(str(source)))
    prompts = FieldGuidePrompts(rows=40, seed=3)
    demonstrations = FieldGuideDemonstrations(rows=24, heldout=8, seed=3)
    sft = InstructionTuning(base=base, demonstrations=demonstrations, epochs=1, batch_size=8, **shared)
    pairs = ComparisonPairs(
        policy=sft, prompts=prompts, rows=16, heldout=16, max_completion_length=ANSWER, seed=3
    )
    labels = Annotation(pairs=pairs, heldout_per_pair=1, seed=3)
    rm = RewardModeling(base=sft, comparisons=labels, batch_size=8, **shared)
    rl = Reinforcement(
        policy=sft,
        reward=LearnedReward(model=rm),
        prompts=prompts,
        critic=rm,
        method=PPO(kl=KLInReward(coef=0.1)),
        steps=2,
        prompts_per_step=8,
        max_completion_length=ANSWER,
        **shared,
    )
    return HeldoutEvaluation(
        base=base,
        sft=sft,
        final=rl,
        reward_model=rm,
        prompts=prompts,
        pairs=pairs,
        labels=labels,
        rows=12,
        samples=4,
        max_completion_length=ANSWER,
        seed=3,
    )


ACCEPTED = ("sft_learned", "rm_above_chance", "rl_reward_rose")  # nothing this small learns anything


def make(expression: Stage, workspace: Path, accept: Collection[str] = ACCEPTED) -> Run:
    return run(
        expression,
        Workspace(workspace),
        Machine(quiet=True, micro_batch_tokens=512),
        accept=accept,
        say=lambda text: None,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"), letters)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, source: Path) -> tuple[Run, Path]:
    workspace = tmp_path_factory.mktemp("workspace")
    return make(recipe(source), workspace), workspace


def test_plain_transformers_loads_every_model(whole: tuple[Run, Path]) -> None:
    products = whole[0].products
    for address in ("base", "sft", "rl"):
        AutoModelForCausalLM.from_pretrained(products[address].path)
    for place in (products["rm"].path, products["rl"].path / "critic"):
        assert AutoModelForSequenceClassification.from_pretrained(place).config.num_labels == 1


def test_reinforcement_starts_where_instruction_tuning_ended(whole: tuple[Run, Path]) -> None:
    metrics = whole[0].products["rl"].values
    assert metrics["ratio_start"] == 1.0
    assert metrics["kl_start"] == 0.0
    assert float(metrics["sampler_delta_max"]) <= 1e-4


def test_what_people_look_at_is_written(whole: tuple[Run, Path]) -> None:
    products = whole[0].products
    samples = [json.loads(line) for line in (products["evaluate"].path / "samples.jsonl").open()]
    assert len(samples) == 4
    assert {"base", "sft", "final"} == samples[0]["answers"].keys()
    gold = [json.loads(line) for line in (products["evaluate"].path / "gold.jsonl").open()]
    assert [row["step"] for row in gold] == [1, 2]
    metrics = [json.loads(line) for line in (products["rl"].path / "metrics.jsonl").open()]
    assert {row["step"] for row in metrics} == {1, 2}
    assert {"reward", "kl", "entropy", "length", "clip_fraction"} <= metrics[0].keys()
    assert [line for made in products.values() for line in undeclared(made.path)] == []
    metrics = products["evaluate"].values
    for name in ("win_rate/final_vs_sft", "kl", "gold/final", "gold/sft/ends", "accuracy", "annotators"):
        assert isinstance(metrics[name], float), name


def test_labels_say_that_they_are_simulated(whole: tuple[Run, Path]) -> None:
    rows = [json.loads(line) for line in (whole[0].products["labels"].path / "train.jsonl").open()]
    assert rows
    assert all(row["simulated"] is True for row in rows)


def test_a_second_run_makes_nothing_and_a_changed_setting_what_follows_it(
    whole: tuple[Run, Path], source: Path
) -> None:
    assert make(recipe(source), whole[1]).made == []
    expression = recipe(source)
    assert isinstance(expression.final, Reinforcement)
    changed = replace(expression.final, method=replace(expression.final.method, clip_range=0.1))
    assert make(replace(expression, final=changed), whole[1]).made == ["rl", "evaluate"]


def test_the_same_seed_gives_the_same_bytes_whole_or_in_parts(
    whole: tuple[Run, Path], source: Path, tmp_path: Path
) -> None:
    expression = recipe(source)
    there = set(ACCEPTED) - {"rl_reward_rose"}
    first = make(expression.reward_model, tmp_path, there)  # stopped here, then continued
    again = make(expression, tmp_path)
    assert "rm" in first.made
    assert "rm" not in again.made
    for address in ("sft", "rm", "rl"):
        one, other = (r.products[address].path / "model.safetensors" for r in (whole[0], again))
        assert hash_file(one) == hash_file(other), address


def test_adapters_start_at_the_instruction_tuned_model_too(source: Path, tmp_path: Path) -> None:
    from posttrain.models.lora import Lora

    products = make(recipe(source, Lora(rank=2, alpha=4.0)), tmp_path).products
    assert products["rl"].values["ratio_start"] == 1.0
    assert products["rl"].values["kl_start"] == 0.0
    assert float(products["rl"].values["sampler_delta_max"]) <= 1e-4
    assert (products["rl"].path / "adapter" / "adapter_model.safetensors").is_file()
    assert (products["rm"].path / "adapter" / "adapter_model.safetensors").is_file()
