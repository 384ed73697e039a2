"""A user's own model and rows: no gold reward, and the report says what it cannot know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain import settings
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.recipes.instructgpt import instructgpt

SMALL = [
    "sft.batch_size=8",
    "rm.batch_size=8",
    "rl.steps=2",
    "rl.prompts_per_step=4",
    "rl.max_completion_length=8",
    "evaluate.max_completion_length=8",
    "evaluate.samples=2",
]
ACCEPTED = ("sft_learned", "rm_above_chance", "rl_reward_rose")  # nothing this small learns anything


def expression(*overrides: str) -> Stage:
    return settings.expression(instructgpt, settings.parse([*overrides, *SMALL]))


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture
def model(tmp_path: Path, letters: PreTrainedTokenizerFast) -> str:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=96,
        pad_token_id=letters.pad_token_id,
        eos_token_id=letters.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    letters.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    asked = [f"question {n}?" for n in range(40)]
    said = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "Yes."}]}
        for q in asked
    ]
    pairs = [{"prompt": q, "chosen": "Yes.", "rejected": "No no."} for q in asked]
    return [
        f"demonstrations={write(tmp_path / 'a.jsonl', said)}",  # type: ignore[arg-type]
        f"comparisons={write(tmp_path / 'b.jsonl', pairs)}",  # type: ignore[arg-type]
        f"prompts={write(tmp_path / 'c.jsonl', [{'prompt': q} for q in asked])}",
    ]


def test_without_gold_the_figures_say_unknown(model: str, files: list[str], tmp_path: Path) -> None:
    made = run(
        expression(f"base={model}", *files),
        Workspace(tmp_path / "workspace"),
        Machine(quiet=True),
        accept=ACCEPTED,
        say=lambda text: None,
    )
    report = made.products["evaluate"].report
    for name in ("win_rate/final_vs_sft", "gold/final", "gold/sft", "accuracy"):
        assert report.figures[name] == "unknown", name
    assert any("not known" in note for note in report.notes)
    assert isinstance(report.figures["reward_win_rate/final_vs_sft"], float)
    assert isinstance(made.products["rm"].figures["label_accuracy"], float)
    assert "pairs" not in made.products  # nobody is asked to compare what the user compared already


def test_prompts_are_taken_from_the_comparisons_where_none_are_given(model: str, files: list[str]) -> None:
    found = expression(f"base={model}", files[1])
    assert type(found.prompts).__name__ == "PromptsOf"  # type: ignore[attr-defined]


def test_demonstrations_alone_leave_the_rest_embedded(model: str, files: list[str]) -> None:
    found = expression(f"base={model}", files[0])
    assert type(found.prompts).__name__ == "FieldGuidePrompts"  # type: ignore[attr-defined]
    assert found.sft.demonstrations.source.path in files[0]  # type: ignore[attr-defined]


def test_own_prompts_without_comparisons_are_refused(model: str, files: list[str]) -> None:
    with pytest.raises(UserError, match="comparisons=FILE"):
        expression(f"base={model}", files[2])


def test_an_unknown_model_is_answered_with_the_list() -> None:
    with pytest.raises(UserError, match="field_guide, smollm2"):
        expression("model=gpt5")


def test_a_base_and_a_model_together_are_refused(model: str) -> None:
    with pytest.raises(UserError, match="both name where to begin"):
        instructgpt(base=model, model="smollm2")
