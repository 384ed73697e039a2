"""Votes on one pair become one soft label, and what a reward model learns from it is their share."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.core.preferences import logistic
from posttrain.data.read import ReadOptions, read_comparisons
from posttrain.pipeline.finding import UserError


def vote(chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": "q", "chosen": chosen, "rejected": rejected, **more}


FOR, AGAINST = vote("A", "B"), vote("B", "A")


def read(tmp_path: Path, *rows: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reading = ReadOptions()
    return read_comparisons(str(path), reading=reading), reading.notices


def answer(row: dict[str, Any]) -> str:
    return str(row["chosen"][0]["content"])


def test_seven_votes_to_three_have_their_minimum_at_the_log_odds_of_seven_tenths(tmp_path: Path) -> None:
    (row,), notices = read(tmp_path, *[FOR] * 7, *[AGAINST] * 3)
    confidence = torch.tensor(row["confidence"], dtype=torch.float64)
    for log_odds, slope in ((math.log(0.7 / 0.3), 0.0), (0.5, -1.0), (1.2, 1.0)):
        gap = torch.tensor(log_odds, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(logistic(gap, confidence), gap)
        assert abs(gradient.item()) < 1e-12 if slope == 0 else gradient.item() * slope > 0
    assert (answer(row), row["votes"]) == ("A", 10)
    assert "10 judgements of 1 pairs" in notices[0]
    assert "1 pairs were judged both ways" in notices[0]


def test_one_early_vote_does_not_outvote_nine_later_ones(tmp_path: Path) -> None:
    (row,), _ = read(tmp_path, FOR, *[AGAINST] * 9)
    assert (answer(row), row["confidence"]) == ("B", 0.9)


def test_the_order_of_votes_does_not_matter(tmp_path: Path) -> None:
    one, _ = read(tmp_path, FOR, AGAINST, AGAINST)
    other, _ = read(tmp_path, AGAINST, FOR, AGAINST)
    assert one == other


def test_equal_votes_and_pairs_that_half_call_a_tie_are_ties(tmp_path: Path) -> None:
    tie = {**FOR, "tie": True}
    for rows in ([FOR, AGAINST], [FOR, tie], [tie, FOR, FOR, tie], [tie]):
        assert read(tmp_path, *rows)[0][0]["tie"] is True
    (row,), _ = read(tmp_path, FOR, FOR, tie)
    assert "tie" not in row
    assert row["confidence"] == 1.0


def test_a_confidence_column_is_the_soft_label_and_below_a_half_turns_the_pair(tmp_path: Path) -> None:
    assert read(tmp_path, {**FOR, "confidence": 0.8})[0][0]["confidence"] == 0.8
    (row,), _ = read(tmp_path, {**FOR, "confidence": 0.2})
    assert (answer(row), row["confidence"]) == ("B", 0.8)
    (row,), _ = read(tmp_path, {**FOR, "confidence": 0.9}, {**AGAINST, "confidence": 0.7})
    assert (answer(row), row["confidence"]) == ("A", pytest.approx(0.6))
    with pytest.raises(UserError, match=r"confidence is 1\.5, expected a share from 0 to 1"):
        read(tmp_path, {**FOR, "confidence": 1.5})


def test_votes_of_one_pair_may_share_an_id_and_other_rows_may_not(tmp_path: Path) -> None:
    (row,), _ = read(tmp_path, {"id": "x", **FOR}, {"id": "x", **AGAINST}, {"id": "x", **FOR})
    assert row["id"] == "x"
    with pytest.raises(UserError, match="row 2: id 'x' is also that of row 1"):
        read(tmp_path, {"id": "x", **FOR}, {"id": "x", **vote("A", "C")})


def test_margins_of_the_opposite_choice_count_against(tmp_path: Path) -> None:
    (row,), _ = read(tmp_path, {**FOR, "margin": 2.0}, {**FOR, "margin": 1.0}, {**AGAINST, "margin": 0.6})
    assert row["margin"] == pytest.approx(0.8)
