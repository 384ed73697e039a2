"""What does not fit is dropped whole and counted; an answer is never cut away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from posttrain.models.chat import Chat
from posttrain.rollouts.encode import encode_answer
from posttrain.stages.fitting import pairs, ratings, same_prompt
from posttrain.stages.sft import examples
from posttrain.storage.jsonl import RowsInFile, write_jsonl
from posttrain.storage.preference_store import PreferenceRow, PreferenceStore
from posttrain.storage.token_rows import TokenRow, TokenRowStore


def said(prompt: str, answer: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}],
        "id": prompt,
    }


def test_a_demonstration_that_does_not_fit_is_dropped_and_counted_never_cut(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    kept, rows = TokenRowStore(tmp_path), [said("x" * 40, "y"), said("x", "y"), said("x", "y" * 40)]
    dropped = examples(Chat(letters), rows, 20, kept)
    assert (len(kept), dropped) == (1, 2)
    assert all(any(row.mask) for row in kept)


def pair(chosen: str, rejected: str, number: int, **more: object) -> dict[str, Any]:
    sides = {"chosen": chosen, "rejected": rejected}
    answers = {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
    return {"id": str(number), "prompt": [{"role": "user", "content": "x"}], **answers, **more}


def test_comparisons_that_teach_nothing_are_dropped_and_counted(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rows = [
        pair("y", "n", 1),
        pair("y", "y", 2),
        pair("y", "n" * 40, 3),
        pair("y", "n", 4, tie=True),
    ]
    kept = PreferenceStore(tmp_path)
    counts = pairs(Chat(letters), rows, 20, kept)
    assert len(kept) == 1
    assert counts == {"ties": 1, "equal": 1, "too_long": 1}


def test_comparisons_are_read_from_a_file_in_order_up_to_the_first_so_many(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    rows = [pair("y", "n" * (1 + number), number, margin=0.5) for number in range(6)]
    rows[1]["tie"] = True
    votes = [rows[0], *rows, pair("n", "y", 0)]
    write_jsonl(tmp_path / "rows.jsonl", votes)
    chat, kept = Chat(letters), PreferenceStore(tmp_path)
    assert pairs(chat, RowsInFile(tmp_path / "rows.jsonl"), 20, kept, most=3)["ties"] == 1
    assert [len(said.rows[1].ids) - len(said.rows[0].ids) for said in kept] == [0, 2, 3]
    assert [pair.confidence for pair in kept] == [2.5 / 4, 1.0, 1.0]
    assert [said.margin for said in kept] == [1 / 3, 0.5, 0.5]
    for said, number in zip(kept, (0, 2, 3), strict=True):
        answers = rows[number]["chosen"], rows[number]["rejected"]
        assert said.rows == [encode_answer(chat, rows[number]["prompt"], answer) for answer in answers]


def test_ratings_that_do_not_fit_are_dropped_and_counted(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    asked, kept = [{"role": "user", "content": "x"}], PreferenceStore(tmp_path)
    said = [("y", True), ("n" * 40, False), ("n", False)]
    rows = [
        {"prompt": asked, "completion": [{"role": "assistant", "content": text}], "label": wanted}
        for text, wanted in said
    ]
    assert ratings(Chat(letters), rows, 20, kept) == {"too_long": 1}
    assert [one.ranks for one in kept] == [[0], [1]]


def test_answers_to_the_same_prompt_have_the_same_number() -> None:
    asked = [[1, 2], [1, 3], [1, 2], [1], [1, 3]]
    found = [
        PreferenceRow(rows=[TokenRow(ids=[*ids, 9, i], mask=[False] * len(ids) + [True] * 2)], ranks=[0])
        for i, ids in enumerate(asked)
    ]
    assert list(same_prompt(found)) == [0, 1, 0, 2, 1]
