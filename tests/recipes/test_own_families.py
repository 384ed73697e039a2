"""Tiny random models of the families that people bring, from their files to the report: every stage is made,
or one sentence says before the first one what cannot be.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from posttrain import settings
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.plan import plan
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.recipes.deepseek_r1_zero import deepseek_r1_zero
from posttrain.recipes.dpo import dpo
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.tulu3 import tulu3
from tests.models.families import FAMILIES, UNSAMPLED, WITHOUT_SCALAR

ACCEPTED = ("sft_learned", "rm_above_chance", "rl_reward_rose", "rl_kl_budget", "solves_more_than_base")
SHORT = ["evaluate.max_completion_length=3", "evaluate.rows=4"]
FIT = ["sft.max_length=20", "judge.max_length=20"]
RL = ["rl.steps=1", "rl.prompts_per_step=4", "rl.max_completion_length=3"]
HOUR, SPEED = 3600, 2e11  # seconds, floating-point operations a second


def model(family: str, tokenizer: PreTrainedTokenizerFast, directory: Path) -> str:
    """A random model with the tokenizer's vocabulary, and room for what a family's own adds to it."""
    config = {**FAMILIES, **UNSAMPLED}[family]()
    config.vocab_size = len(tokenizer) + 6
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return f"base={directory}"


def files(directory: Path, rows: int = 40, words: int = 0) -> dict[str, str]:
    """A user's four files; with ``words`` answers of so many words, else of a few letters."""
    asked = [f"q{n} " + "why is it so " * (words // 8) for n in range(rows)]
    long = " so it is" * (words // 3)
    made: dict[str, list[dict[str, Any]]] = {
        "demonstrations": [
            {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "yes" + long}]}
            for q in asked
        ],
        "comparisons": [{"prompt": q, "chosen": "yes" + long, "rejected": "no" + long} for q in asked],
        "prompts": [{"prompt": q} for q in asked],
        "problems": [{"prompt": q, "answer": "yes"} for q in asked],
    }
    for name, found in made.items():
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    return {name: f"{name}={directory / name}.jsonl" for name in made}


def expression(recipe: Any, *wishes: str) -> Stage:
    return settings.expression(recipe, settings.parse(wishes))


@pytest.mark.parametrize("family", [*WITHOUT_SCALAR, *UNSAMPLED])
def test_what_a_later_stage_cannot_do_is_said_before_the_first_one(
    family: str, letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    base, given = model(family, letters, tmp_path / "model"), files(tmp_path)
    for recipe, wishes in (
        (instructgpt, [given["comparisons"], given["demonstrations"]]),
        (dpo, [given["comparisons"]]),
    ):
        with pytest.raises(UserError) as told:
            run(
                expression(recipe, base, *wishes),
                Workspace(tmp_path / "work"),
                Machine(quiet=True),
                say=lambda text: pytest.fail(text),
            )
        lines = [line for line in str(told.value).splitlines() if line[:1] != " "]
        assert all(line.startswith("stage ") for line in lines), told.value
        assert not (tmp_path / "work").exists()
    if family in WITHOUT_SCALAR:
        own = expression(dpo, base, given["comparisons"], "judge_share=0", *SHORT)
        assert plan(own, Workspace(tmp_path / "work"), Machine())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_stage_is_made_of_a_users_model(
    family: str, letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    base, given = model(family, letters, tmp_path / "model"), files(tmp_path)
    compared, shown = given["comparisons"], given["demonstrations"]
    scalar = family not in WITHOUT_SCALAR
    if scalar:
        ppo = [*SHORT, *FIT, *RL, "rm.max_length=20", "rl.method.minibatches=1"]
        recipes = [(instructgpt, [compared, shown, *ppo])]
        recipes += [(dpo, [compared, shown, *SHORT, *FIT, "alignment.max_length=20"])]
    else:
        alone = ["judge_share=0", *SHORT, "sft.max_length=20", "alignment.max_length=20"]
        recipes = [(dpo, [compared, shown, *alone])]
        zero = [*SHORT, *RL, "rl.group_size=2", "evaluate.often=2"]
        recipes += [(deepseek_r1_zero, [given["problems"], *zero])]
    made: set[str] = set()
    for recipe, wishes in recipes:
        found = run(
            expression(recipe, base, *wishes),
            Workspace(tmp_path / "work"),
            Machine(quiet=True),
            accept=None,
            say=lambda text: None,
        )
        assert found.record["status"] == "finished"
        made |= set(found.products)
    assert {"sft", "alignment", "rl", "evaluate"} <= made
    assert ({"rm", "judge"} <= made) == scalar


def of_135m(directory: Path, tokenizer: PreTrainedTokenizerFast) -> str:
    """A model of SmolLM2-135M's shape, of which only the header of the weights is there."""
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
    )
    config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    header = json.dumps({"all": {"dtype": "F32", "shape": [134_515_008], "data_offsets": [0, 0]}}).encode()
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return f"base={directory}"


@pytest.mark.parametrize("rows", [300, 3000])
def test_an_own_model_of_135m_is_done_within_the_hour_by_the_stages_own_estimates(
    rows: int, letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    base, given = of_135m(tmp_path / "model", letters), files(tmp_path, rows, words=60)
    both = [given["comparisons"], given["demonstrations"]]
    for recipe, wishes in (
        (dpo, both),
        (instructgpt, [*both, given["prompts"]]),
        (tulu3, [*both, given["problems"]]),
        (deepseek_r1_zero, [given["problems"]]),
    ):
        planned = plan(
            expression(recipe, base, *wishes), Workspace(tmp_path / "work"), Machine(), lambda: SPEED
        )
        assert all(row.estimate.seconds for row in planned), recipe
        minutes = sum(row.estimate.seconds for row in planned) / 60
        assert 5 < minutes < HOUR / 60, (recipe.__name__, minutes)
