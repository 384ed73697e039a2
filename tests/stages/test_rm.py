"""What reward modeling makes of comparisons on disk is what it would make of a list of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.models.chat import Chat
from posttrain.models.language_policy import LanguageReward
from posttrain.models.loading import load_reward_model, load_tokenizer
from posttrain.pipeline.sources import SourceFile
from posttrain.rewards.learned import ScoreScale
from posttrain.rollouts.encode import encode_answer, scores
from posttrain.stages.base import ExistingModel
from posttrain.stages.fitting import mismatched
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.rm import RewardModeling
from posttrain.storage.preference_store import PreferenceRow, PreferenceStore
from posttrain.storage.token_rows import TokenRow
from tests.stages.test_instructgpt import make, save_llama

NONE = ExistingModel(source=SourceFile(""))


def answer(prompt: int, *said: int) -> TokenRow:
    return TokenRow(ids=[1, prompt, *said], mask=[False] * 2 + [True] * len(said))


@pytest.fixture
def train(tmp_path: Path) -> PreferenceStore:
    kept = PreferenceStore(tmp_path)
    for i in range(40):  # the chosen answers are of three kinds
        rows = [answer(10 + i, 5 + i % 3), answer(10 + i, 8, 9 + i)]
        kept.append(PreferenceRow(rows=rows, ranks=[0, 1], confidence=0.7, margin=0.2))
    return kept


def test_shuffled_labels_turn_each_comparison_by_its_coin(train: PreferenceStore) -> None:
    stage = RewardModeling(base=NONE, comparisons=NONE, shuffled_labels=True, seed=4)
    coin = random.Random("shuffled labels:4")
    turned = [coin.random() >= 0.5 for _ in train]
    found = stage._shuffled(train)
    assert 5 < sum(turned) < 35
    for own, other, is_turned in zip(train, found, turned, strict=True):
        assert other.rows == (own.rows[::-1] if is_turned else own.rows)
        assert (other.ranks, other.confidence, other.margin) == (own.ranks, own.confidence, own.margin)


def test_mismatched_comparisons_follow_those_that_are_there(train: PreferenceStore) -> None:
    before = list(train)
    coin = random.Random("mismatched:4")
    asked = [pair for pair in before if coin.random() < 0.5]
    others = [coin.choice(before) for _ in asked]
    rejected = [mismatched(a.rows[0], b.rows[0]) for a, b in zip(asked, others, strict=True)]
    expected = [
        PreferenceRow(rows=[pair.rows[0], row], ranks=[0, 1])
        for pair, row in zip(asked, rejected, strict=True)
        if pair.rows[0].ids != row.ids
    ]
    assert 0 < len(expected) < len(asked)  # some answers to other prompts are the same
    RewardModeling(base=NONE, comparisons=NONE, mismatched=0.5, seed=4)._add_mismatched(train)
    assert list(train) == before + expected


def test_the_scale_is_that_of_the_first_answers(
    tmp_path: Path, letters: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posttrain.stages.rm.SCALED", 10)
    rows = [{"prompt": f"{n}?", "chosen": "a" * (1 + n), "rejected": "b" * (2 + n)} for n in range(20)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    comparisons = ComparisonRows(source=SourceFile(str(file), "datasets"), heldout_share=0.2)
    base = ExistingModel(source=SourceFile(str(save_llama(tmp_path / "model", letters))))
    stage = RewardModeling(base=base, comparisons=comparisons, batch_size=8)
    made = make(stage, tmp_path / "workspace", accept=["rm_above_chance"])
    product = made.products["rm"]
    assert int(product.values["rows"]) > 10
    scale = ScoreScale.load(product.path)
    assert scale.rows == 10
    chat = Chat(load_tokenizer(product.path))
    model, _ = load_reward_model(product.path)
    first = [json.loads(line) for line in (made.products["labels"].path / "train.jsonl").open()][:5]
    answers = [
        encode_answer(chat, row["prompt"], row[side]) for row in first for side in ("chosen", "rejected")
    ]
    found = scores(LanguageReward(model), answers, chat.pad_id, 512)
    assert scale.mean == pytest.approx(float(found.mean()), abs=1e-5)
