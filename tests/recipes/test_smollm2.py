"""The recipe on the real small model's data, annotators and adapters, with a stand-in of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain.cli import main

SMALL = (
    "demonstrations.rows=16",
    "demonstrations.heldout=8",
    "prompts.rows=24",
    "prompts.heldout=12",
    "pairs.rows=12",
    "pairs.heldout=8",
    "pairs.max_completion_length=12",
    "rl.steps=2",
    "rl.prompts_per_step=4",
    "rl.max_completion_length=12",
    "evaluate.rows=8",
    "evaluate.max_completion_length=12",
)
GATES = ("sft_learned", "rm_above_chance", "rl_reward_rose")  # random weights learn nothing in two steps


@pytest.fixture
def stand_in(tmp_path: Path, letters: PreTrainedTokenizerFast) -> Path:
    """A Llama shaped as SmolLM2 is (grouped heads, tied embeddings), of a few thousand weights."""
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
    figures = json.loads(capsys.readouterr().out)
    named = {name.removeprefix("evaluate.") for name in figures}
    assert {"gold/base", "gold/sft", "gold/final", "win_rate/final_vs_sft", "accuracy"} <= named
    assert figures["rl.ratio_start"] == 1.0
    assert figures["rl.kl_start"] == 0.0

    made = {path.name.rsplit("-", 1)[0]: path for path in (workspace / "products").iterdir()}
    assert "rm_shuffled" not in made
    for address in ("sft", "rl"):
        AutoModelForCausalLM.from_pretrained(made[address])
        assert (made[address] / "adapter" / "adapter_model.safetensors").is_file()
    notes = json.loads((made["base"] / "made.json").read_text("utf-8"))["report"]["notes"]
    assert any("already" in note for note in notes)
    rows = [json.loads(line) for line in (made["labels"] / "train.jsonl").read_text("utf-8").splitlines()]
    assert rows
    assert all(row["simulated"] for row in rows)
