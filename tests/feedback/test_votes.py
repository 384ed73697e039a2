"""Votes on one pair: the majority wins, equal votes tie, a lone comparison stays as it is."""

from typing import Any

import pytest

from posttrain.feedback.votes import counted


def said(choice: str, name: str = "1") -> dict[str, Any]:
    texts = {"a": ("A", "B"), "b": ("B", "A"), "tie": ("A", "B")}[choice]
    return {"id": name, "chosen": texts[0], "rejected": texts[1], "annotator": "x", "tie": choice == "tie"}


def test_most_votes_win_and_say_how_sure_they_are() -> None:
    (found,) = counted([said("b"), said("a"), said("b")])
    assert (found["chosen"], found["rejected"], found["tie"]) == ("B", "A", False)
    assert found["confidence"] == pytest.approx(2.5 / 4)
    (found,) = counted([said("a"), said("a"), said("a")])
    assert found["confidence"] == pytest.approx(3.5 / 4)


def test_ties_do_not_vote_and_equal_votes_tie() -> None:
    assert counted([said("a"), said("tie"), said("a")])[0]["confidence"] == pytest.approx(2.5 / 3)
    assert counted([said("a"), said("b")])[0]["tie"]
    assert counted([said("tie"), said("tie")])[0]["tie"]


def test_a_row_alone_is_as_it_was_and_pairs_keep_their_order() -> None:
    rows = [said("a", "2"), said("b", "1")]
    assert counted(rows) == rows


def test_margins_are_weighed_against_each_other() -> None:
    rows = [said("b") | {"margin": 0.5}, said("a") | {"margin": 0.2}, said("b") | {"margin": 0.0}]
    assert counted(rows)[0]["margin"] == pytest.approx(0.1)
    assert counted([row | {"margin": 0.9} if row["chosen"] == "A" else row for row in rows])[0]["margin"] == 0
