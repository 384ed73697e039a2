"""Whether a reward can score the prompts it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.checks import reward_fits
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.rewards.length import Length
from posttrain.storage.jsonl import write_jsonl


@pytest.mark.parametrize(("answered", "passed"), [(0, False), (1, True), (2, True)])
def test_it_stops_where_no_prompt_fits_and_counts_where_some_do(
    tmp_path: Path, answered: int, passed: bool
) -> None:
    rows = [{"id": f"{n}", "prompt": "q", **({"answer": "4"} if n < answered else {})} for n in range(3)]
    write_jsonl(tmp_path / "train.jsonl", rows)
    (found,) = reward_fits.check(ExactAnswer(), tmp_path / "train.jsonl")
    assert found.passed is passed
    assert f"can score {answered} of 3 prompts; {answered} lacks answer" in found.evidence


def test_nothing_is_said_where_all_fit_or_anything_can_be_scored(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"prompt": "q", "answer": "4"}])
    for reward in (ExactAnswer(), Length()):
        assert reward_fits.check(reward, tmp_path / "train.jsonl") == []
