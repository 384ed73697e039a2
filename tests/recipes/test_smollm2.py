"""The recipe on the real small model's data, annotators and adapters, with a stand-in of random weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain.cli import main
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine, Stage, rewrite
from posttrain.pipeline.store import Workspace
from posttrain.recipes.best_of_n import best_of_n
from posttrain.recipes.deepseek_r1 import deepseek_r1
from posttrain.recipes.deepseek_r1_zero import deepseek_r1_zero
from posttrain.recipes.dpo import dpo
from posttrain.recipes.iterated_dpo import iterated_dpo
from posttrain.recipes.rounds import rounds
from posttrain.recipes.tulu3 import tulu3
from posttrain.rollouts.rejection_rules import best_per_prompt
from posttrain.stages.labels import Annotation
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rm import RewardModeling

SMALL = (
    "demonstrations.rows=16",
    "demonstrations.heldout=8",
    "prompts.rows=24",
    "prompts.heldout=12",
    "pairs.rows=12",
    "pairs.heldout=8",
    "pairs.max_completion_length=12",
    "rm.reading.layer=1",
    "rl.steps=2",
    "rl.prompts_per_step=4",
    "rl.max_completion_length=12",
    "evaluate.rows=8",
    "evaluate.max_completion_length=12",
)
LEAST = {
    "rows": 16,
    "heldout": 8,
    "answers": 3,
    "steps": 2,
    "prompts_per_step": 4,
    "epochs": 1,
    "max_completion_length": 12,
    "often": 2,
    "often_rows": 4,
    "best_of": 2,
}
GATES = ("sft_learned", "rm_above_chance", "rl_reward_rose")  # random weights learn nothing in two steps


@pytest.fixture
def stand_in(tmp_path: Path, letters: PreTrainedTokenizerFast) -> Path:
    """A Llama shaped as SmolLM2 is (grouped heads, tied embeddings), of a few thousand weights; SmolLM2
    itself where POSTTRAIN_SMOLLM2 says in what directory it is.
    """
    if real := os.environ.get("POSTTRAIN_SMOLLM2"):
        return Path(real)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=letters.pad_token_id,
        eos_token_id=letters.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "stand_in")
    letters.save_pretrained(tmp_path / "stand_in")
    return tmp_path / "stand_in"


@pytest.mark.slow
def test_the_recipe_runs_with_adapters_on_what_the_fetched_model_is_asked(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("posttrain.models.smollm2.fetch_smollm2", lambda cache: stand_in)
    workspace = tmp_path / "workspace"
    accepted = [word for gate in GATES for word in ("--accept-gate", gate)]
    command = ["run", "instructgpt", "model=smollm2", *SMALL, *accepted]
    assert main([*command, "--workspace", str(workspace), "--quiet"]) == 0

    capsys.readouterr()
    assert main(["report", "--json", "--workspace", str(workspace)]) == 0
    metrics = json.loads(capsys.readouterr().out)
    named = {name.removeprefix("evaluate.") for name in metrics}
    assert {"gold/base", "gold/sft", "gold/final", "win_rate/final_vs_sft", "accuracy"} <= named
    assert {"win_rate/best_of_8_vs_sft", "win_rate/final_vs_best_of_8", "family_change_worst"} <= named
    assert {"accuracy_on_policy", "control/bag_of_words", "comparisons_gold_tied_share"} <= named
    assert 0 < metrics["rm.pair_loss_floor"] < 0.6932
    assert metrics["rm.pair_loss_heldout"] >= metrics["rm.pair_loss_floor_heldout"]
    assert metrics["rl.ratio_start"] == 1.0
    assert metrics["rl.kl_start"] == 0.0

    made = {path.name.rsplit("-", 1)[0]: path for path in (workspace / "products").iterdir()}
    assert "rm_shuffled" not in made
    for address in ("sft", "rl"):
        AutoModelForCausalLM.from_pretrained(made[address])
        assert (made[address] / "adapter" / "adapter_model.safetensors").is_file()
    config = json.loads((made["rm"] / "config.json").read_text("utf-8"))
    assert config["num_hidden_layers"] == 1
    assert "mean over an answer's tokens" in (made["rm"] / "README.md").read_text("utf-8")
    lines = (made["rm"] / "metrics.jsonl").read_text("utf-8").splitlines()
    assert all(0 < json.loads(line)["pair_loss_floor"] < 0.6932 for line in lines)
    notes = json.loads((made["base"] / "made.json").read_text("utf-8"))["report"]["notes"]
    assert any("already" in note for note in notes)
    rows = [json.loads(line) for line in (made["labels"] / "train.jsonl").read_text("utf-8").splitlines()]
    assert rows
    assert all(row["simulated"] for row in rows)


OTHERS = {
    "best_of_n": best_of_n,
    "dpo": dpo,
    "tulu3": tulu3,
    "deepseek_r1_zero": deepseek_r1_zero,
    "deepseek_r1": deepseek_r1,
    "rounds": partial(rounds, count=2),
    "rounds_by_rejection": partial(rounds, count=2, by="rejection"),
    "rounds_by_scored_dpo": partial(rounds, count=2, by="scored_dpo"),
    "iterated_dpo": partial(iterated_dpo, count=2),
}


def least(_: Stage, now: Stage) -> Stage:
    """The stage with each size as small as it may be."""
    has = {item.name: getattr(now, item.name) for item in fields(now)}
    others: dict[str, Any] = {}
    if isinstance(now, RewardModeling):
        others["reading"] = replace(now.reading, layer=min(now.reading.layer, 1))
    if isinstance(now, Annotation):  # answers of random weights are all alike to whoever looks at them
        others["annotators"] = tuple(replace(annotator, tosses=1.0) for annotator in now.annotators)
    least = {name: min(most, has[name]) for name, most in LEAST.items() if has.get(name)}
    return replace(now, **least, **others)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_recipe_takes_a_few_steps_on_it(
    name: str, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posttrain.models.smollm2.fetch_smollm2", lambda cache: stand_in)
    recipe: Callable[..., Stage] = OTHERS[name]
    expression = rewrite(recipe(model="smollm2"), least)
    # nobody is right within a few words, so nothing is kept by that rule
    expression = rewrite(expression, _kept_whatever_it_is)
    done = run(
        expression, Workspace(tmp_path), Machine(quiet=True), accept=None, say=lambda text: None, recipe=name
    )
    assert done.products["evaluate"].values
    learned = [a for a in done.products if a.split("[")[0] in ("sft", "alignment", "rl", "imitation")]
    assert learned
    for address in learned:
        AutoModelForCausalLM.from_pretrained(done.products[address].path)
        assert (done.products[address].path / "adapter" / "adapter_model.safetensors").is_file(), address


def _kept_whatever_it_is(_: Stage, now: Stage) -> Stage:
    return replace(now, choose=best_per_prompt) if isinstance(now, RejectionSampling) else now
