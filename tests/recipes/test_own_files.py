"""A user's own model and rows: no gold reward, and the report says what it cannot know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain import settings
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.lineage import lineage
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage, addresses
from posttrain.pipeline.store import Workspace
from posttrain.recipes.best_of_n import best_of_n
from posttrain.recipes.deepseek_r1 import deepseek_r1
from posttrain.recipes.deepseek_r1_zero import deepseek_r1_zero
from posttrain.recipes.dpo import dpo
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.iterated_dpo import iterated_dpo
from posttrain.recipes.rounds import rounds
from posttrain.recipes.tulu3 import tulu3
from posttrain.report.page import html
from posttrain.report.record import RunRecord as Told
from posttrain.stages.base import ExistingModel
from posttrain.storage.jsonl import read_jsonl

SMALL = ["evaluate.max_completion_length=8", "evaluate.samples=2", "evaluate.rows=8"]
ACCEPTED = ("sft_learned", "rm_above_chance", "rl_reward_rose")  # nothing this small learns anything
EMBEDDED = ("FieldGuide", "Everyday", "Constraint", "Annotation", "ComparisonPairs", "SumLines", "Questions")


def expression(*overrides: str, recipe: Any = instructgpt) -> Any:
    return settings.expression(recipe, settings.parse(overrides))


def kinds(recipe: Stage) -> dict[str, str]:
    """Address to class; of the embedded world there is none."""
    found = {address: type(stage).__name__ for address, stage in addresses(recipe).items()}
    assert not [kind for kind in found.values() if kind.startswith(EMBEDDED)]
    assert not any(getattr(stage, "field_guide", False) for stage in addresses(recipe).values())
    return found


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


def test_dpo_trains_on_the_users_file_alone_and_says_whether_it_is_better(
    model: str, files: list[str], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    made = run(
        expression(f"base={model}", files[1], *SMALL, recipe=dpo),
        workspace,
        Machine(quiet=True),
        say=lambda text: None,
    )
    assert set(made.products) == {
        *("base", "labels", "policy_comparisons", "judge_comparisons", "prompts"),
        *("judge", "alignment", "evaluate"),
    }
    report = made.products["evaluate"].report
    for name in ("judge_win_rate", "implicit_accuracy", "label_accuracy_change", "judge_change"):
        one = report.metrics[f"{name}/alignment_vs_base"]
        assert one.bounds[0] <= one.number <= one.bounds[1], name
    for name in ("label_accuracy/base", "label_accuracy/alignment", "judge_accuracy"):
        one = report.metrics[name]
        assert 0 <= one.bounds[0] <= one.number <= 1, name
    assert report.values["gold/alignment"] == "unknown"
    assert any("no gold reward" in note for note in report.notes)
    told = lineage(made.products["alignment"])
    assert "b.jsonl" in told
    assert not [word for word in EMBEDDED if word in told]
    rows = [
        {row["prompt"][0]["content"] for row in read_jsonl(made.products[name].path / "train.jsonl")}
        for name in ("policy_comparisons", "judge_comparisons", "labels")
    ]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == rows[2]
    held = [
        (made.products[name].path / "heldout.jsonl").read_bytes() for name in ("policy_comparisons", "labels")
    ]
    assert held[0] == held[1]
    page = html(Told.load(made.directory, workspace.root))
    assert "judge" in page
    shown = read_jsonl(made.products["evaluate"].path / "samples.jsonl")
    assert len(shown) == 2
    assert set(shown[0]["answers"]) == {"base", "alignment"}


@pytest.mark.parametrize("recipe", [deepseek_r1_zero, tulu3])
def test_own_problems_are_paid_for_the_final_answer_in_a_sentence(recipe: Any, files: list[str]) -> None:
    problems, more = "problems=mine.jsonl", files[1:2] if recipe is tulu3 else []
    for words, kind in (([], "FinalAnswer"), (["verifier=math_answer"], "MathAnswer")):
        built = addresses(expression("base=somewhere", problems, *words, *more, recipe=recipe))
        assert type(built["rl"].reward).__name__ == kind
        verifier = built["evaluate"].reward if recipe is deepseek_r1_zero else built["evaluate"].verifier
        assert verifier == built["rl"].reward


@pytest.mark.parametrize("recipe", [instructgpt, dpo, best_of_n, tulu3])
def test_nothing_of_the_embedded_world_is_in_a_recipe_on_own_data(recipe: Any, files: list[str]) -> None:
    problems = [f"problems={files[2].partition('=')[2]}"] if recipe is tulu3 else []
    from_base = expression("base=somewhere", files[1], *problems, recipe=recipe)
    found = kinds(from_base)
    assert "sft" not in found
    assert found["prompts"] == "PromptsOf"
    assert addresses(from_base)["evaluate"].policies[0] is addresses(from_base)["base"]
    tuned = kinds(expression("base=somewhere", *files, *problems, recipe=recipe))
    assert tuned["sft"] == "InstructionTuning"
    assert tuned["demonstrations"] == "DemonstrationRows"
    assert tuned["prompts"] == "PromptRows"
    alone = kinds(expression("base=somewhere", files[1], *problems, "judge_share=0", recipe=recipe))
    assert not {"judge", "judge_comparisons"} & set(alone)


@pytest.mark.parametrize("recipe", [instructgpt, dpo, best_of_n, tulu3])
def test_a_tuned_model_of_the_users_is_where_alignment_begins(
    recipe: Any, model: str, files: list[str]
) -> None:
    problems = [f"problems={files[2].partition('=')[2]}"] if recipe is tulu3 else []
    own = addresses(expression("base=somewhere", f"sft={model}", files[1], *problems, recipe=recipe))
    assert own["evaluate"].policies[0] is own["sft"]
    assert isinstance(own["sft"], Finished)
    assert own["evaluate"].controls == (own["base"],)
    assert isinstance(addresses(expression(f"sft={model}", recipe=recipe))["sft"], Finished)
    for wishes, told in (
        ([f"sft={model}/nowhere"], "must be the directory of a finished product"),
        ([f"sft={model}", files[0]], "tuned already"),
    ):
        with pytest.raises(UserError, match=told):
            expression("base=somewhere", *wishes, files[1], *problems, recipe=recipe)


@pytest.mark.parametrize("recipe", [instructgpt, dpo, best_of_n, tulu3])
def test_a_tuned_model_on_the_hub_is_read_as_a_base_is(recipe: Any, files: list[str]) -> None:
    problems = [f"problems={files[2].partition('=')[2]}"] if recipe is tulu3 else []
    own = addresses(expression("base=somewhere", "sft=owner/tuned", files[1], *problems, recipe=recipe))
    assert own["evaluate"].policies[0] is own["sft"]
    assert own["sft"] == ExistingModel(name="sft", source=SourceFile("owner/tuned"))
    with pytest.raises(UserError, match="on the hub begins alignment on your own data; give base="):
        expression("sft=owner/tuned", recipe=recipe)


def test_a_product_that_is_named_by_the_hub_is_refused_with_how_to_fetch_it(files: list[str]) -> None:
    with pytest.raises(UserError, match=r"rm=owner/scorer: .*`hf download owner/scorer --local-dir DIR`"):
        expression("base=somewhere", files[1], "rm=owner/scorer", recipe=instructgpt)
    with pytest.raises(UserError, match=r"directory of a finished product, and /no/where is none$"):
        expression("base=somewhere", files[1], "rm=/no/where", recipe=instructgpt)


@pytest.mark.parametrize("recipe", [instructgpt, dpo, best_of_n, tulu3])
def test_what_is_missing_of_the_users_is_named(recipe: Any, files: list[str]) -> None:
    with pytest.raises(UserError, match="give comparisons=FILE with rows"):
        expression("base=somewhere", files[0], recipe=recipe)
    if recipe is tulu3:
        with pytest.raises(UserError, match="give problems=FILE, rows"):
            expression("base=somewhere", files[1], recipe=recipe)


def test_ratings_alone_train_the_users_model(files: list[str]) -> None:
    found = kinds(expression("base=somewhere", "ratings=r.jsonl", recipe=dpo))
    assert found == {"base": "ExistingModel", "labels": "RatedRows", "alignment": "Alignment"}


@pytest.mark.parametrize("recipe", [rounds, deepseek_r1, iterated_dpo])
def test_a_recipe_of_the_embedded_world_takes_no_model_from_outside(
    recipe: Any, model: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is to learn nothing"):
        expression(f"base={model}", recipe=recipe)
    (tmp_path / "product").mkdir()
    (tmp_path / "product" / "made.json").write_text("{}", "utf-8")
    assert isinstance(addresses(expression(f"base={tmp_path / 'product'}", recipe=recipe))["base"], Finished)


def test_defaults_follow_the_size_of_the_model(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = addresses(expression(f"base={model}", "comparisons=c.jsonl"))
    assert small["rl"].steps * small["rl"].prompts_per_step < 1000
    assert small["judge_comparisons"].most == 250
    monkeypatch.setattr("posttrain.recipes.own_data.SMALL", 10)
    large = addresses(expression(f"base={model}", "comparisons=c.jsonl"))
    assert large["rl"].steps * large["rl"].prompts_per_step > 3000
    assert large["policy_comparisons"].most == large["judge_comparisons"].most == 0
    assert large["rl"].lora is None
    assert small["rl"].lora is not None
    assert addresses(expression(f"base={model}", "comparisons=c.jsonl", "lora=4"))["rl"].lora.rank == 4
    assert addresses(expression("base=owner/name", "comparisons=c.jsonl"))["rl"].steps == small["rl"].steps


def test_evidence_that_needs_gold_is_refused_and_a_share_is_a_share() -> None:
    with pytest.raises(UserError, match="measured by a gold reward"):
        expression("base=somewhere", "comparisons=c.jsonl", "evidence=full")
    with pytest.raises(UserError, match="judge_share is 1"):
        expression("base=somewhere", "comparisons=c.jsonl", "judge_share=1")


def test_own_prompts_without_comparisons_are_refused(files: list[str]) -> None:
    with pytest.raises(UserError, match="comparisons=FILE"):
        expression(files[2])


def test_an_unknown_model_is_answered_with_the_list() -> None:
    with pytest.raises(UserError, match="field_guide, smollm2"):
        expression("model=gpt5")


def test_a_base_and_a_model_together_are_refused(model: str) -> None:
    with pytest.raises(UserError, match="both name where to begin"):
        instructgpt(base=model, model="smollm2", comparisons="c.jsonl")
