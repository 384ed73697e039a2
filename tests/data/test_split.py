"""What is held out was never seen: by prompt, whatever the answer, the order or the file."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.data.split import split
from posttrain.pipeline.finding import UserError


def comparisons() -> list[dict[str, Any]]:
    return [
        {"prompt": [{"role": "user", "content": f"q{n % 400}"}], "chosen": f"{n}", "rejected": "no"}
        for n in range(1200)
    ]


def conversations() -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"q{n % 400}"},
                {"role": "assistant", "content": f"a{n}"},
            ]
        }
        for n in range(1200)
    ]


@pytest.mark.parametrize(("column", "rows"), [("prompt", comparisons()), ("messages", conversations())])
def test_a_prompt_is_on_one_side_with_all_its_answers(column: str, rows: list[dict[str, Any]]) -> None:
    train, held = split(rows, column, 0.3)
    questions = [{row[column][0]["content"] for row in side} for side in (train, held)]
    assert not questions[0] & questions[1]
    assert len(train) + len(held) == len(rows)
    assert 0.23 < len(held) / len(rows) < 0.37  # 400 prompts: a standard deviation is 0.023
    again = split(rows[::-1], column, 0.3)[1]
    assert sorted(map(str, again)) == sorted(map(str, held))


def test_the_ends_of_the_share() -> None:
    assert split(comparisons(), "prompt", 0.0)[1] == []
    with pytest.raises(UserError, match="none is left to train on"):
        split(comparisons(), "prompt", 1.0)
