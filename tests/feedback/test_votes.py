"""Votes on one pair: the majority wins, equal votes tie, a lone comparison stays as it is."""

from typing import Any

import pytest

from posttrain.feedback.votes import counted


def said(choice: str, name: str = "1") -> dict[str, Any]:
    texts = {"a": ("A", "B"), "b": ("B", "A"), "tie": ("A", "B")}[choice]
    return {"id": name, "chosen": texts[0], "rejected": texts[1], "annotator": "x", "tie": choice == "tie"}


def only(*rows: dict[str, Any]) -> dict[str, Any]:
    """What becomes of votes on one pair."""
    (found,) = counted(rows)
    return found


def test_most_votes_win_and_say_how_sure_they_are() -> None:
    found = only(said("b"), said("a"), said("b"))
    assert (found["chosen"], found["rejected"], found["tie"]) == ("B", "A", False)
    assert found["confidence"] == pytest.approx(2.5 / 4)
    found = only(said("a"), said("a"), said("a"))
    assert found["confidence"] == pytest.approx(3.5 / 4)


def test_confidence_is_of_those_who_chose_and_equal_votes_tie() -> None:
    assert only(said("a"), said("tie"), said("a"))["confidence"] == pytest.approx(2.5 / 3)
    assert only(said("a"), said("b"))["tie"]
    assert only(said("tie"), said("tie"))["tie"]


@pytest.mark.parametrize(
    "votes",
    [("a", "tie"), ("a", "tie", "tie"), ("a", "tie", "a", "tie"), ("b", "a", "a", "tie", "tie", "tie")],
)
def test_where_half_or_more_see_no_difference_the_pair_is_a_tie(votes: tuple[str, ...]) -> None:
    """Else one noisy vote beside three ties would teach the reward model a coin flip."""
    assert only(*map(said, votes))["tie"]
    assert not only(*map(said, votes), *[said("a")] * len(votes))["tie"]


def test_a_row_alone_is_as_it_was_and_pairs_keep_their_order() -> None:
    rows = [said("a", "2"), said("b", "1")]
    assert list(counted(rows)) == rows


def test_votes_find_each_other_wherever_they_are() -> None:
    rows = [said("a", "2"), said("b", "1"), said("b", "2"), said("a", "3"), said("b", "2"), said("b", "1")]
    found = list(counted(rows))
    assert [row["id"] for row in found] == ["2", "1", "3"]
    assert [row["chosen"] for row in found] == ["B", "B", "A"]
    assert [row.get("confidence") for row in found] == pytest.approx([2.5 / 4, 2.5 / 3, None])


def test_margins_are_weighed_against_each_other() -> None:
    rows = [said("b") | {"margin": 0.5}, said("a") | {"margin": 0.2}, said("b") | {"margin": 0.0}]
    assert only(*rows)["margin"] == pytest.approx(0.1)
    turned = [row | {"margin": 0.9} if row["chosen"] == "A" else row for row in rows]
    assert only(*turned)["margin"] == 0
