"""Reinforcement with verifiable rewards from a base model that has seen no chat, in its smallest sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from posttrain.field_guide.operands import sum_heldout
from posttrain.field_guide.problems import questions, sum_lines
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Fingerprints
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.recipes.deepseek_r1_zero import deepseek_r1_zero
from posttrain.rewards.base import Episode
from posttrain.rewards.coin_reward import CoinReward
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.rewards.readable_answer import ReadableAnswer
from posttrain.settings import expression, parse
from posttrain.stages.base import EMBEDDED, ExistingModel
from posttrain.stages.problems import ProblemRows
from posttrain.stages.rl import Reinforcement
from posttrain.stages.solve import Solving
from tests.declared_metrics import undeclared
from tests.stages.test_instructgpt import save_llama

SMALL = (
    "prompts.rows=16",
    "prompts.heldout=8",
    "rl.steps=2",
    "rl.prompts_per_step=2",
    "rl.group_size=2",
    "rl.max_completion_length=6",
    "random_control.steps=2",
    "random_control.prompts_per_step=2",
    "random_control.group_size=2",
    "random_control.max_completion_length=6",
    "format_control.steps=1",
    "format_control.prompts_per_step=2",
    "format_control.group_size=2",
    "format_control.max_completion_length=6",
    "verified.rows=4",
    "verified.answers=2",
    "verified.heldout=4",
    "verified.max_completion_length=6",
    "verified.choose=best_overall",  # nothing this small is ever right
    "sft_verified.batch_size=4",
    "evaluate.rows=8",
    "evaluate.often=4",
    "evaluate.often_rows=2",
    "evaluate.max_completion_length=6",
)
ACCEPTED = ("sft_learned", "rl_reward_rose", "solves_more")


def said(text: str, row: dict[str, Any], ended: bool = True, version: int = 0, seed: int = 0) -> Episode:
    more = {"ended": ended, "version": version, "seed": seed}
    return Episode(prompt=row, response=text, ids=[], mask=[], logprobs=[], **more)  # type: ignore[arg-type]


def values(source: Any, episodes: list[Episode]) -> list[float]:
    with source.open(None, None) as scorer:
        return list(scorer.score(episodes).values.tolist())


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast
) -> tuple[Run, Stage, Path]:
    folder = tmp_path_factory.mktemp("r1_zero")
    known = ExistingModel(source=SourceFile(str(save_llama(folder / "model", letters))))

    def small() -> Stage:
        recipe = deepseek_r1_zero(evidence="full")
        assert isinstance(recipe, Solving)
        from posttrain.pipeline.stage import rewrite

        return rewrite(recipe, lambda old, new: known if isinstance(old, ExistingModel) else new)

    made = expression(small, parse(SMALL))
    machine = Machine(quiet=True, micro_batch_tokens=512)
    result = run(made, Workspace(folder / "workspace"), machine, accept=ACCEPTED, say=lambda text: None)
    return result, made, folder


def test_plain_text_is_gone_on_with_as_it_was_read(letters: PreTrainedTokenizerFast) -> None:
    chat = Chat(letters)
    ids, mask = chat.text_example("Sums\n1 2", " 3\n")
    assert ids[: len(chat.text_ids("Sums\n1 2"))] == chat.text_ids("Sums\n1 2")
    assert ids[0] == letters.bos_token_id
    assert letters.eos_token_id not in ids
    assert letters.decode([i for i, own in zip(ids, mask, strict=True) if own]) == " 3\n"
    newline = letters.convert_tokens_to_ids("\n")
    assert {newline, *letters.all_special_ids} == set(chat.stops_at("\n"))


def test_plain_text_ends_where_a_chat_would_begin() -> None:
    """The embedded base says the chat's tokens, which pretraining never read, as often as the colon that they
    began as.
    """
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    assert tokenizer.convert_tokens_to_ids("<|user|>") in Chat(tokenizer).stops_at("\n")


def test_held_out_operands_are_never_trained_on() -> None:
    for make in (sum_lines, questions):
        trained = [row["item"] for row in make("train", 400, 3) if "a" in row["item"]]
        held = [row["item"] for row in make("heldout", 400, 0) if "a" in row["item"]]
        assert trained
        assert held
        assert not any(sum_heldout(item["a"], item["b"]) for item in trained)
        assert all(sum_heldout(item["a"], item["b"]) for item in held)
    lines = [row["prompt"] for row in sum_lines("heldout", 800, 0)]
    assert len(set(lines)) == 800


def test_the_last_word_of_an_answer_that_ended_is_its_answer() -> None:
    row = {"id": "x", "prompt": "Sums\n47 + 38", "answer": "85"}
    answers = [": 7 + 8 = 15. So 85.\n", " = 85", "85 or 84", "84 or 85 I think", "", "1085", "-85."]
    assert values(ExactAnswer(), [said(text, row) for text in answers]) == [1, 1, 0, 0, 0, 0, 1]
    assert values(ExactAnswer(), [said(" = 85", row, ended=False)]) == [0]
    assert values(ReadableAnswer(), [said(t, row) for t in (" = 84", "yes", "")]) == [1, 0, 0]
    word = {"id": "y", "prompt": [], "answer": "enots"}
    assert values(ExactAnswer(), [said(t, word) for t in ("Enots.", "stone")]) == [1, 0]
    assert values(ReadableAnswer(), [said(t, word) for t in ("stone", "12")]) == [1, 0]


def test_a_verifier_does_not_score_what_has_no_answer() -> None:
    with ExactAnswer().open(None, None) as scorer:  # type: ignore[arg-type]
        assert scorer.score([said("85", {"prompt": "x"})]).scored.tolist() == [False]


def test_a_coin_pays_whatever_was_said_and_the_same_again() -> None:
    row = {"prompt": "x", "answer": "1"}
    many = [said("1" if n % 2 else "2", row, version=n // 50, seed=n) for n in range(2000)]
    paid = values(CoinReward(seed=4), many)
    assert paid == values(CoinReward(seed=4), many) != values(CoinReward(seed=5), many)
    for right in (0, 1):
        assert 0.44 < sum(paid[right::2]) / 1000 < 0.56


def test_a_coin_is_thrown_for_each_answer_whatever_others_are_scored_with_it() -> None:
    row = {"prompt": "x", "answer": "1"}
    answers = [said("1", row, version=n % 2, seed=n) for n in range(80)]
    paid = values(CoinReward(seed=4), answers)
    assert 20 < sum(paid) < 60  # answers of the same words
    pieces = [values(CoinReward(seed=4), answers[at : at + 7]) for at in range(0, 80, 7)]
    assert [value for piece in pieces for value in piece] == paid
    assert values(CoinReward(seed=4), answers[::-1]) == paid[::-1]
    again = [said("1", row, version=2, seed=n) for n in range(80)]
    assert values(CoinReward(seed=4), again) != paid  # another version of the weights


def test_the_recipe_is_made_and_measured(whole: tuple[Run, Stage, Path]) -> None:
    assert [line for made in whole[0].products.values() for line in undeclared(made.path)] == []
    metrics = whole[0].products["evaluate"].values
    for name in ("base", "random_control", "format_control", "sft_verified", "final"):
        assert 0 <= float(metrics[f"solved/{name}"]) <= 1
        assert float(metrics[f"length/{name}"]) <= 6
    assert {"pass@1/base", "pass@4/base", "solved_change/final_vs_base"} <= metrics.keys()
    assert whole[0].products["evaluate"].metrics["solved_change/final_vs_base"].interval
    assert {"length_start", "length_final"} <= metrics.keys()
    samples = (whole[0].products["evaluate"].path / "samples.jsonl").read_text("utf-8").splitlines()
    assert json.loads(samples[0])["prompt"].split("\n")[1].count("+") == 1


def test_answers_continue_the_page_and_end_at_its_line(whole: tuple[Run, Stage, Path]) -> None:
    path = whole[0].products["rl"].path / "episodes.jsonl"
    episodes = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert {len({e["step"] for e in episodes}), len(episodes)} == {2, 8}
    for episode in episodes:
        assert "\n" not in episode["response"][:-1]
        assert episode["ended"] or episode["tokens"] == 6


def test_controls_have_no_gate_that_asks_them_to_learn(whole: tuple[Run, Stage, Path]) -> None:
    recipe = whole[1]
    assert isinstance(recipe, Solving)
    names = {
        stage.name: [g.name for g in stage.gates(whole[0].products[stage.name].report)]
        for stage in recipe.beside
    }
    assert names == {
        "random_control": ["rl_same_at_the_start"],
        "format_control": ["rl_same_at_the_start"],
        "sft_verified": ["sft_learned", "sft_ends", "sft_fits"],
    }


def test_a_later_setting_counts_only_where_it_was_set(whole: tuple[Run, Stage, Path]) -> None:
    recipe = whole[1]
    assert isinstance(recipe, Solving)
    assert isinstance(recipe.final, Reinforcement)
    prints = Fingerprints(Workspace(whole[2] / "workspace"))
    assert prints.of(replace(recipe.final, as_control=True)) != prints.of(recipe.final)
    before = json.dumps(prints._object(recipe.final))
    assert "as_control" not in before


def test_problems_of_one_s_own_are_read_and_checked(tmp_path: Path) -> None:
    good = [{"prompt": f"What is {n} + 1?", "answer": n + 1} for n in range(30)]
    lines = [{"prompt": f"{n} + 1 =", "answer": str(n + 1), "stop": "\n"} for n in range(10)]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*good, *lines]))
    rows = ProblemRows(source=SourceFile(str(file), "datasets"), heldout_share=0.3)
    (tmp_path / "out").mkdir()
    metrics = rows.run(None, tmp_path / "out", Machine()).values  # type: ignore[arg-type]
    assert int(metrics["rows"]) + int(metrics["heldout_rows"]) == 40
    read = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").open()]
    assert {type(row["prompt"]) for row in read} == {str, list}
    assert all(isinstance(row["answer"], str) for row in read)
    file.write_text('{"prompt": "a", "answer": null}\n{"prompt": "b", "answer": true}\n')
    with pytest.raises(UserError, match=r"(?s)row 1: answer is null.*row 2: answer is True"):
        rows.preflight(None, Machine())  # type: ignore[arg-type]


def test_a_model_of_one_s_own_needs_problems(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give problems=FILE"):
        deepseek_r1_zero(base="somewhere")
    own = deepseek_r1_zero(base="somewhere", problems=str(tmp_path / "p.jsonl"))
    assert isinstance(own, Solving)
    assert isinstance(own.final, Reinforcement)
    assert isinstance(own.final.prompts, ProblemRows)
    assert own.final.max_completion_length == own.max_completion_length == 256
