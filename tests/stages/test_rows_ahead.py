"""What rows and given products say of the stages that will read them is told before the first one trains."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForSequenceClassification, PreTrainedTokenizerFast

from posttrain.checks import rows_ahead
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.grpo import GRPO
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.rewards.learned import LearnedReward
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.prompts import PromptRows, PromptsOf
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from tests.stages.test_instructgpt import save_llama

Writer = Callable[[str, list[dict[str, Any]]], SourceFile]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    """A context of 256; a letter is a token."""
    return save_llama(tmp_path_factory.mktemp("llama"), letters)


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def written(name: str, rows: list[dict[str, Any]]) -> SourceFile:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return SourceFile(str(tmp_path / name), "datasets")

    return written


def talk(length: int) -> dict[str, Any]:
    """A conversation whose answer has so many tokens."""
    said = [{"role": "user", "content": f"Say {length}."}, {"role": "assistant", "content": "a" * length}]
    return {"messages": said}


def judged(length: int, place: int = 0) -> dict[str, Any]:
    return {"prompt": f"Say {place}.", "chosen": "a" * length, "rejected": "b"}


def stopped(stage: Stage, place: Path) -> str:
    """What is said, once nothing but models and rows was made."""
    workspace = Workspace(place)
    with pytest.raises(UserError) as told:
        run(stage, workspace, Machine(quiet=True), say=lambda text: None)
    kinds = {path.name.rpartition("-")[0] for path in workspace.products.glob("[!.]*")}
    assert kinds <= {"base", "demonstrations", "labels", "prompts"}
    return str(told.value)


def tuned(model: Path, rows: SourceFile, **settings: Any) -> InstructionTuning:
    base = ExistingModel(source=SourceFile(str(model)))
    return InstructionTuning(base=base, demonstrations=DemonstrationRows(source=rows), **settings)


def test_rows_beyond_a_plain_context_are_counted(llama: Path, write: Writer, tmp_path: Path) -> None:
    rows = write("talks.jsonl", [talk(n) for n in (5, 6, 7, 400, 8, 401, 9, 10)])
    told = stopped(tuned(llama, rows, max_length=1024, batch_size=4), tmp_path / "work")
    assert "stage sft: stopped before anything is trained" in told
    assert "sft.max_length is 1024, the model has 256 positions, and 2 of 8 rows are longer" in told
    assert "the longest has 414 tokens" in told
    assert "set sft.max_length=256, which leaves them out and counts them" in told


def test_learned_positions_are_no_index_error(
    write: Writer, tmp_path: Path, letters: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(letters), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    letters.save_pretrained(tmp_path / "gpt2")
    rows = write("talks.jsonl", [*(talk(n) for n in range(1, 9)), talk(100)])
    told = stopped(tuned(tmp_path / "gpt2", rows, batch_size=4), tmp_path / "work")
    assert "the model has 64 positions, and 1 of 9 rows are longer" in told


def test_a_long_setting_with_short_rows_is_no_fault(llama: Path, write: Writer, tmp_path: Path) -> None:
    rows = write("talks.jsonl", [talk(n) for n in range(1, 13)])
    stage = tuned(llama, rows, max_length=1024, batch_size=4, as_control=True)
    made = run(stage, Workspace(tmp_path / "work"), Machine(quiet=True), say=lambda text: None)
    assert made.products["sft"].values["dropped"] == 0


def test_no_row_that_fits_and_comparisons_are_looked_at_too(
    llama: Path, write: Writer, tmp_path: Path
) -> None:
    base = ExistingModel(source=SourceFile(str(llama)))
    rows = ComparisonRows(source=write("pairs.jsonl", [judged(n, n) for n in range(30, 40)]))
    aligned = Alignment(policy=base, comparisons=rows, max_length=20, batch_size=4)
    told = stopped(aligned, tmp_path / "work")
    assert "rows to learn from fits into alignment.max_length=20; the shortest has" in told
    long = ComparisonRows(source=write("long.jsonl", [judged(300, n) for n in range(10)]))
    told = stopped(
        RewardModeling(base=base, comparisons=long, max_length=500, batch_size=4), tmp_path / "other"
    )
    assert "rm.max_length is 500, the model has 256 positions, and 10 of 10 rows are longer" in told


def test_what_an_answer_leaves_no_room_for(llama: Path, write: Writer, tmp_path: Path) -> None:
    base = ExistingModel(source=SourceFile(str(llama)))
    asked = [{"prompt": "a" * 100 + str(n), "answer": "1"} for n in range(8)]
    prompts = PromptRows(source=write("prompts.jsonl", asked))
    rl = Reinforcement(policy=base, reward=ExactAnswer(), prompts=prompts, method=GRPO())
    told = stopped(replace(rl, max_completion_length=200), tmp_path / "work")
    assert "of 6 prompts leaves room for rl.max_completion_length=200: the shortest has" in told
    told = stopped(replace(rl, max_completion_length=256), tmp_path / "other")
    assert "rl.max_completion_length is 256, the model has 256 positions for a prompt and its answer" in told
    assert not (tmp_path / "other").exists()


def test_one_comparison_is_not_enough_to_measure_with(llama: Path, write: Writer, tmp_path: Path) -> None:
    """It was told by the prompts, which were made after two stages had been trained."""
    base = ExistingModel(source=SourceFile(str(llama)))
    rows = ComparisonRows(source=write("pairs.jsonl", [judged(5)]), heldout_share=0.0)
    rm = RewardModeling(base=base, comparisons=rows)
    rl = Reinforcement(
        policy=base, reward=LearnedReward(model=rm), prompts=PromptsOf(rows=rows), method=GRPO()
    )
    told = stopped(rl, tmp_path / "work")
    assert "the heldout rows hold no prompt; there are 1 train rows" in told


@pytest.mark.parametrize("place", ["policy", "reward.model", "prompts"])
def test_a_given_product_of_another_kind(
    llama: Path, write: Writer, tmp_path: Path, letters: PreTrainedTokenizerFast, place: str
) -> None:
    from transformers import LlamaConfig

    config = LlamaConfig.from_pretrained(llama)
    config.num_labels = 1
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    letters.save_pretrained(tmp_path / "rm")
    given = {"policy": Finished(str(tmp_path / "rm"), "sft"), "reward.model": Finished(str(llama), "rm")}
    prompts: Stage = PromptRows(source=write("prompts.jsonl", [{"prompt": f"Say {n}."} for n in range(8)]))
    if place == "prompts":
        prompts = Finished(str(llama), "prompts")
    policy: Stage = ExistingModel(source=SourceFile(str(llama)))
    reward: Stage = Finished(str(tmp_path / "rm"), "rm")
    rl = Reinforcement(
        policy=given["policy"] if place == "policy" else policy,
        reward=LearnedReward(model=given["reward.model"] if place == "reward.model" else reward),
        prompts=prompts,
        method=GRPO(),
    )
    told = stopped(rl, tmp_path / "work")
    assert {
        "policy": "is a reward model; expected a language model for rl.policy",
        "reward.model": "is a language model; expected a reward model for rl.reward.model",
        "prompts": "is a language model; expected prompts for rl.prompts",
    }[place] in told


def test_another_vocabulary(llama: Path, tmp_path: Path, letters: PreTrainedTokenizerFast) -> None:
    other = PreTrainedTokenizerFast.from_pretrained(llama)
    other.add_tokens(["zebra"])
    shutil.copytree(llama, tmp_path / "other")
    other.save_pretrained(tmp_path / "other")
    found = rows_ahead.vocabularies(llama, {"teacher": tmp_path / "other", "critic": llama})
    assert [one.name for one in found] == ["one_vocabulary"]
    assert f"{len(other)} tokens that is not the policy's ({len(letters)} tokens)" in found[0].evidence


def test_rows_of_which_nothing_is_learned_and_answers_without_an_end(llama: Path, tmp_path: Path) -> None:
    for side in ("train", "heldout"):
        (tmp_path / f"{side}.jsonl").write_text((json.dumps(talk(3)) + "\n") * 3)
    stage = tuned(llama, SourceFile("unread"))

    def looked(mask: list[bool], last: int) -> list[tuple[str, float]]:
        found = rows_ahead.rows(stage, llama, tmp_path, lambda chat, row: iter([([5, 6, last], mask, True)]))
        return [(one.name, float(one.value)) for one in found]

    end = PreTrainedTokenizerFast.from_pretrained(llama).eos_token_id
    assert looked([False, True, True], end) == []
    assert looked([False, True, False], end) == [("the_end_is_learned", 0.0)]
    assert looked([False, False, False], end) == [("every_row_teaches", 3.0), ("the_end_is_learned", 0.0)]
    mixed = "".join(json.dumps(talk(length)) + "\n" for length in (3, 300, 4))
    (tmp_path / "train.jsonl").write_text(mixed)  # the long one is left out and counted, as ever
    assert rows_ahead.rows(stage, llama, tmp_path, rows_ahead.demonstration) == []


def test_rows_that_begin_twice(llama: Path, tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    bos, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    for side in ("train", "heldout"):
        (tmp_path / f"{side}.jsonl").write_text((json.dumps(talk(3)) + "\n") * 3)

    def looked(*beginning: int) -> list[tuple[str, float]]:
        ids = [*beginning, 5, end]
        said = (ids, [False] * len(beginning) + [True, True], True)
        found = rows_ahead.rows(tuned(llama, SourceFile("unread")), llama, tmp_path, lambda *_: iter([said]))
        return [(one.name, float(one.value)) for one in found]

    assert looked(bos, 6) == []
    assert looked(bos, bos, 6) == [("one_bos", 3.0)]
    assert looked(6, bos, bos) == []
