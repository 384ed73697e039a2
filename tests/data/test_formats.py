"""Rows as published data sets have them: a small fixture of each real schema, and what it becomes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posttrain.data.read import (
    ReadOptions,
    read_comparisons,
    read_messages,
    read_problems,
    read_prompts,
    read_ratings,
)
from posttrain.pipeline.finding import UserError

Q, A, B = "What is ice?", "Frozen water.", "Fire."
USER, ANSWER, WORSE = (
    {"role": "user", "content": Q},
    {"role": "assistant", "content": A},
    {"role": "assistant", "content": B},
)
SYSTEM = {"role": "system", "content": "Be brief."}
TALK = {"messages": [USER, ANSWER]}
PAIR = {"prompt": [USER], "chosen": [ANSWER], "rejected": [WORSE]}
HH = f"\n\nHuman: {Q}\n\nAssistant:"


def rows_of(reader: Callable[..., Any], tmp_path: Path, *rows: Any, columns: Any = None) -> tuple[Any, str]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reading = ReadOptions(columns=columns or {})
    return reader(str(path), reading=reading), "\n".join(reading.notices)


DEMONSTRATIONS = {
    "ShareGPT": ({"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]}, TALK),
    "ShareGPT with a system turn": (
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": Q},
                {"from": "gpt", "value": A},
            ]
        },
        {"messages": [SYSTEM, USER, ANSWER]},
    ),
    "conversation with roles": ({"conversation": [USER, ANSWER]}, TALK),
    "Alpaca": ({"instruction": Q, "input": "", "output": A, "text": "Below is ..."}, TALK),
    "Alpaca with input": (
        {"instruction": "Translate.", "input": "Eis", "output": "Ice"},
        {
            "messages": [
                {"role": "user", "content": "Translate.\n\nEis"},
                {"role": "assistant", "content": "Ice"},
            ]
        },
    ),
    "Dolly": ({"instruction": Q, "context": "", "response": A, "category": "open_qa"}, TALK),
    "OpenOrca": (
        {"id": "1", "system_prompt": "Be brief.", "question": Q, "response": A},
        {"id": "1", "messages": [SYSTEM, USER, ANSWER]},
    ),
    "MetaMath": ({"query": Q, "response": A, "type": "x"}, TALK),
    "NuminaMath": ({"problem": Q, "solution": A, "source": "x"}, TALK),
    "GSM8K": ({"question": Q, "answer": A}, TALK),
    "prompt and response": ({"prompt": Q, "response": A}, TALK),
    "input and output": ({"input": Q, "output": A}, TALK),
    "FLAN": ({"inputs": Q, "targets": A}, TALK),
    "a transcript": ({"text": f"{HH} {A}"}, TALK),
    "messages with a system column": (
        {"system": "Be brief.", "messages": [USER, ANSWER]},
        {"messages": [SYSTEM, USER, ANSWER]},
    ),
    "a completion of several turns": (
        {"prompt": Q, "completion": [ANSWER, {"role": "user", "content": "Sure?"}, ANSWER]},
        {"messages": [USER, ANSWER, {"role": "user", "content": "Sure?"}, ANSWER]},
    ),
}
COMPARISONS = {
    "HH-RLHF": ({"chosen": f"{HH} {A}", "rejected": f"{HH} {B}"}, PAIR),
    "HH-RLHF of two turns": (
        {
            "chosen": f"{HH} Hm.\n\nHuman: Go on.\n\nAssistant: {A}",
            "rejected": f"{HH} Hm.\n\nHuman: Go on.\n\nAssistant: {B}",
        },
        {
            **PAIR,
            "prompt": [USER, {"role": "assistant", "content": "Hm."}, {"role": "user", "content": "Go on."}],
        },
    ),
    "prompt as a transcript": (
        {"prompt": HH, "chosen": f" {A}", "rejected": f" {B}"},
        {**PAIR, "chosen": [{**ANSWER, "content": f" {A}"}], "rejected": [{**WORSE, "content": f" {B}"}]},
    ),
    "UltraFeedback, binarised": (
        {
            "prompt": Q,
            "prompt_id": "x",
            "chosen": [USER, ANSWER],
            "rejected": [USER, WORSE],
            "messages": [USER, ANSWER],
            "score_chosen": 8.0,
            "score_rejected": 2.0,
        },
        PAIR,
    ),
    "Intel's Orca pairs": (
        {"system": "Be brief.", "question": Q, "chosen": A, "rejected": B},
        {**PAIR, "prompt": [SYSTEM, USER]},
    ),
    "Alpaca with chosen and rejected": ({"instruction": Q, "input": "", "chosen": A, "rejected": B}, PAIR),
    "LLaMA-Factory": (
        {
            "conversations": [{"from": "human", "value": Q}],
            "chosen": {"from": "gpt", "value": A},
            "rejected": {"from": "gpt", "value": B},
        },
        PAIR,
    ),
    "OpenAI's preference tuning": (
        {
            "input": {"messages": [USER], "tools": []},
            "preferred_output": [ANSWER],
            "non_preferred_output": [WORSE],
        },
        PAIR,
    ),
    "Argilla": ({"instruction": Q, "chosen_response": A, "rejected_response": B}, PAIR),
    "PKU-SafeRLHF": (
        {"prompt": Q, "response_0": B, "response_1": A, "better_response_id": 1, "safer_response_id": 0},
        PAIR,
    ),
    "LMSYS arena": (
        {
            "conversation_a": [USER, WORSE],
            "conversation_b": [USER, ANSWER],
            "winner": "model_b",
            "model_a": "x",
        },
        PAIR,
    ),
    "LMSYS arena on Kaggle": (
        {
            "id": 3,
            "prompt": json.dumps([Q]),
            "response_a": json.dumps([A]),
            "response_b": json.dumps([B]),
            "winner_model_a": 1,
            "winner_model_b": 0,
            "winner_tie": 0,
        },
        {"id": "3", **PAIR},
    ),
    "Stanford Human Preferences": (
        {"history": Q, "human_ref_A": B, "human_ref_B": A, "labels": 0, "score_A": 3},
        PAIR,
    ),
    "WebGPT": (
        {
            "question": {"full_text": Q, "id": "x"},
            "answer_0": A,
            "answer_1": B,
            "score_0": 0.5,
            "score_1": -0.5,
        },
        PAIR,
    ),
    "summarize_from_feedback": (
        {"info": {"post": Q}, "summaries": [{"text": B}, {"text": A}], "choice": 1, "worker": "w"},
        {**PAIR, "prompt": [{"role": "user", "content": f"Summarise this.\n\n{Q}"}]},
    ),
    "AlpacaFarm": ({"instruction": Q, "input": "", "output_1": A, "output_2": B, "preference": 1}, PAIR),
    "HelpSteer3": ({"context": [USER], "response1": A, "response2": B, "overall_preference": -2}, PAIR),
    "Nectar": ({"prompt": HH, "answers": [{"answer": B, "rank": 2.0}, {"answer": A, "rank": 1.0}]}, PAIR),
    "UltraFeedback": (
        {
            "instruction": Q,
            "completions": [{"response": B, "overall_score": 3.0}, {"response": A, "overall_score": 8.5}],
        },
        PAIR,
    ),
    "distilabel": ({"instruction": Q, "generations": [A, B], "ratings": [5, 1]}, PAIR),
    "ShareGPT conversations": (
        {
            "chosen": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}],
            "rejected": [{"from": "human", "value": Q}, {"from": "gpt", "value": B}],
        },
        PAIR,
    ),
    "answers of several turns with a shared beginning": (
        {
            "prompt": Q,
            "chosen": [WORSE, {"role": "user", "content": "Sure?"}, ANSWER],
            "rejected": [WORSE, {"role": "user", "content": "Sure?"}, WORSE],
        },
        {**PAIR, "prompt": [USER, WORSE, {"role": "user", "content": "Sure?"}]},
    ),
}
PROMPTS = {
    "question": ({"question": Q}, {"prompt": [USER]}),
    "instruction": ({"instruction": Q, "input": "", "output": A}, {"prompt": [USER]}),
    "messages": ({"messages": [USER, ANSWER]}, {"prompt": [USER]}),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
        {"prompt": [USER]},
    ),
    "a system prompt": ({"prompt": Q, "system": "Be brief."}, {"prompt": [SYSTEM, USER]}),
}
PROBLEMS = {
    "GSM8K": ({"question": Q, "answer": "It is 4. #### 4"}, {"prompt": [USER], "answer": "It is 4. #### 4"}),
    "MATH": (
        {"problem": Q, "solution": r"So \boxed{4}.", "level": "Level 1", "type": "x"},
        {"prompt": [USER], "answer": r"So \boxed{4}."},
    ),
    "NuminaMath": ({"problem": Q, "solution": "So 4.", "answer": "4"}, {"prompt": [USER], "answer": "4"}),
    "verl": (
        {
            "data_source": "x",
            "prompt": [USER],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "4"},
            "extra_info": {"index": 1},
        },
        {"prompt": [USER], "answer": "4"},
    ),
    "HumanEval": (
        {
            "task_id": "HumanEval/0",
            "prompt": Q,
            "entry_point": "f",
            "canonical_solution": "    return 1",
            "test": "def check(candidate):\n    assert candidate() == 1",
        },
        {
            "prompt": [USER],
            "tests": "def check(candidate):\n    assert candidate() == 1",
            "entry_point": "f",
            "code_before": Q,
        },
    ),
    "MBPP": (
        {
            "task_id": 1,
            "text": Q,
            "code": "...",
            "test_list": ["assert f() == 1"],
            "test_setup_code": "import math",
        },
        {"prompt": [USER], "tests": "import math\nassert f() == 1"},
    ),
}
RATINGS = {
    "response": (
        {"prompt": Q, "response": A, "label": True},
        {"prompt": [USER], "completion": [ANSWER], "label": True},
    ),
    "instruction and output": (
        {"instruction": Q, "output": A, "label": "false"},
        {"prompt": [USER], "completion": [ANSWER], "label": False},
    ),
}


@pytest.mark.parametrize(
    ("reader", "row", "wanted"),
    [
        pytest.param(reader, row, wanted, id=f"{reader.__name__}: {name}")
        for reader, cases in (
            (read_messages, DEMONSTRATIONS),
            (read_comparisons, COMPARISONS),
            (read_prompts, PROMPTS),
            (read_problems, PROBLEMS),
            (read_ratings, RATINGS),
        )
        for name, (row, wanted) in cases.items()
    ],
)
def test_a_published_schema_is_read_and_what_was_done_is_said(
    tmp_path: Path, reader: Callable[..., Any], row: Any, wanted: Any
) -> None:
    rows, notices = rows_of(reader, tmp_path, row)
    assert rows == [wanted]
    standard = {"prompt", "messages", "completion", "chosen", "rejected", "label", "answer", "id", "tests"}
    assert notices or set(row) <= standard


@pytest.mark.parametrize(
    ("reader", "row", "told"),
    [
        (read_messages, {"text": "<|im_start|>user\nHi<|im_end|>"}, "chat template already filled in"),
        (read_messages, {"text": "Ice is frozen water."}, "holds no prompt and no answer"),
        (read_messages, {"chosen": A, "rejected": B}, "give them as comparisons=FILE"),
        (read_comparisons, {"prompt": Q, "completion": A, "label": True}, "give them as ratings=FILE"),
        (read_comparisons, {"messages": [USER, ANSWER]}, "give them as demonstrations=FILE"),
        (read_comparisons, {"prompt": Q, "completions": [A], "labels": [True]}, "labels of reasoning steps"),
        (read_ratings, {"prompt": Q, "chosen": A, "rejected": B}, "give them as comparisons=FILE"),
        (
            read_comparisons,
            {"prompt": Q, "response_a": A, "response_b": B, "winner": "me"},
            "row 1: winner is 'me', expected a, b, tie",
        ),
        (read_prompts, {"query_text": Q}, "no column prompt.*columns=prompt:NAME"),
    ],
)
def test_rows_of_another_kind_are_refused_with_what_to_give(
    tmp_path: Path, reader: Callable[..., Any], row: Any, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        rows_of(reader, tmp_path, row)


def test_four_ranked_answers_are_six_comparisons_and_equal_ranks_none(tmp_path: Path) -> None:
    answers = [{"answer": f"Answer {n}.", "rank": n} for n in (1, 2, 3, 4)]
    rows, notices = rows_of(read_comparisons, tmp_path, {"id": "x", "prompt": Q, "answers": answers})
    assert len(rows) == 6
    assert all(row["chosen"][0]["content"] < row["rejected"][0]["content"] for row in rows)
    assert "6 of 1 rows" in notices
    equal = [{"answer": A, "rank": 1}, {"answer": B, "rank": 1}, {"answer": "C.", "rank": 2}]
    rows, _ = rows_of(read_comparisons, tmp_path, {"prompt": Q, "answers": equal})
    assert {row["rejected"][0]["content"] for row in rows} == {"C."}
    assert len(rows) == 2


def test_the_user_can_name_columns(tmp_path: Path) -> None:
    row = {"ask": Q, "win": A, "lose": B, "prompt": "another"}
    columns = {"prompt": "ask", "chosen": "win", "rejected": "lose"}
    assert rows_of(read_comparisons, tmp_path, row, columns=columns)[0] == [PAIR]
    with pytest.raises(UserError, match=re.escape("columns=prompt:aks: no column aks; did you mean ask?")):
        rows_of(read_comparisons, tmp_path, row, columns={"prompt": "aks"})


def test_columns_that_are_not_read_are_named_once(tmp_path: Path) -> None:
    rows = [{"prompt": Q, "chosen": A, "rejected": B, "source": "web", "model": "x"}] * 2
    _, notices = rows_of(read_comparisons, tmp_path, *rows)
    assert notices.count("columns that are not read: model, source") == 1
