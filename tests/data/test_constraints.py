"""Every check passes what obeys it, refuses what does not, and is not fooled by the cheapest tricks."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain.data.constraint_prompts import CONSTRAINTS, demonstrations, prompts, reference_answer
from posttrain.data.constraints import CHECKS, judge, obeyed
from posttrain.pipeline.finding import UserError

CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "one_word": ({}, ["Birds", "Birds.", " mother-in-law "], ["", "Two words", "a, b", "42", "."]),
    "at_most_words": ({"count": 3}, ["Owls eat mice."], ["", "Owls", "Owls eat very small mice."]),
    "between_words": ({"low": 2, "high": 3}, ["Owls eat mice."], ["Owls", "Owls eat very small mice."]),
    "sentences": (
        {"count": 2},
        ["Owls fly. They eat mice.", "Do owls fly? Yes!", "It is 3.5 metres. That is long."],
        ["Owls fly.", "Owls fly. They eat", "Owls fly. Owls fly.", "- Owls fly.\n- They eat.", "..", ""],
    ),
    "bullets": (
        {"count": 2},
        ["- otter\n- beaver", "* otter\n\n* beaver", "• otter\n• beaver"],
        ["- otter", "- otter\n- otter", "Here:\n- otter\n- beaver", "-\n-", "-otter\n-beaver", "1. a\n2. b"],
    ),
    "numbered": (
        {"count": 2},
        ["1. otter\n2. beaver", "1) otter\n2) beaver"],
        [
            "1. otter",
            "1. otter\n1. beaver",
            "2. otter\n1. beaver",
            "1. otter\n2. otter",
            "- a\n- b",
            "1.\n2.",
        ],
    ),
    "comma_list": (
        {"count": 3},
        ["otter, beaver, trout", "otter, beaver, and trout."],
        [
            "otter, beaver",
            "otter, otter, trout",
            "a, b, the trout in the river",
            "otter,\nbeaver,\ntrout",
            ",,",
        ],
    ),
    "lowercase": ({}, ["owls eat mice.", "é"], ["Owls eat mice.", "", "123"]),
    "uppercase": ({}, ["OWLS EAT MICE."], ["Owls EAT MICE.", "", "123"]),
    "no_commas": ({}, ["Owls eat mice."], ["Owls, as you know, eat mice.", "", "Yes."]),
    "begins_with": (
        {"phrase": "Sure!"},
        ["Sure! Owls fly."],
        ["Sure!", "Owls fly. Sure!", "sure! Owls fly."],
    ),
    "ends_with": ({"phrase": "The end."}, ["Owls fly. The end."], ["The end.", "The end. Owls fly.", ""]),
    "includes": (
        {"word": "mice"},
        ["Owls eat mice.", "MICE are what owls eat."],
        ["Owls eat mouse.", "mice mice mice mice", "mice", "Owls eat dormice."],
    ),
    "excludes": ({"word": "owls"}, ["They eat mice."], ["Owls eat mice.", "", "OWLS, I say"]),
    "quoted": ({}, ['"Owls fly."', "“Owls fly.”"], ["Owls fly.", '"Owls" fly.', '""', '"Owls', '"a" b "c"']),
    "json_keys": (
        {"keys": ["name", "fact"]},
        ['{"name": "owls", "fact": "They fly."}'],
        [
            '{"name": "owls"}',
            '{"name": "", "fact": "x"}',
            "name: owls",
            '{"name": 1, "fact": 2}',
            "[]",
            "[" * 9999,
        ],
    ),
    "on_topic": (
        {"terms": ["owls", "mice"]},
        ["An owl flies.", "They eat mice."],
        ["Cats purr.", "", "owls owls owls owls owls owls"],
    ),
}


def test_every_check_has_its_cases() -> None:
    assert CASES.keys() == CHECKS.keys()
    assert CONSTRAINTS.keys() == CHECKS.keys() - {"on_topic"}


@pytest.mark.parametrize("name", list(CASES))
def test_a_check_tells_obeying_from_not(name: str) -> None:
    settings, obeying, breaking = CASES[name]
    item = {"checks": [{"check": name, **settings}]}
    assert {text: obeyed(item, text) for text in obeying} == dict.fromkeys(obeying, 1.0)
    assert {text: obeyed(item, text) for text in breaking} == dict.fromkeys(breaking, 0.0)


@pytest.mark.parametrize(("split", "count"), [("train", 1500), ("heldout", 400)])
def test_every_reference_answer_scores_one_and_is_short(split: Any, count: int) -> None:
    rows = prompts(split, count, seed=3)
    for row in rows:
        answer = reference_answer(row["item"])
        assert obeyed(row["item"], answer) == 1.0, (row["prompt"], answer, judge(row["item"], answer))
        assert len(answer) <= 120
    asked = {check["check"] for row in rows for check in row["item"]["checks"]}
    assert asked == CHECKS.keys()


@pytest.mark.parametrize("text", ["", "-", "Sure!", "1", "yes yes yes yes yes yes", "\n\n"])
def test_an_answer_to_nothing_earns_little(text: str) -> None:
    rows = prompts("heldout", 300, seed=0)
    assert sum(obeyed(row["item"], text) for row in rows) / len(rows) < 0.15


def test_held_out_prompts_share_neither_topics_nor_wordings_with_training() -> None:
    train, heldout = prompts("train", 1500, seed=0), prompts("heldout", 400, seed=0)
    assert not {row["item"]["topic"] for row in train} & {row["item"]["topic"] for row in heldout}
    assert not {row["item"]["prompt"] for row in train} & {row["item"]["prompt"] for row in heldout}
    for constraint in CONSTRAINTS.values():
        assert not set(constraint.wordings["train"]) & set(constraint.wordings["heldout"])
    assert len({row["item"]["prompt"] for row in heldout}) == 400
    assert prompts("heldout", 400, seed=0) == heldout != prompts("heldout", 400, seed=1)


def test_demonstrations_obey_as_often_as_asked() -> None:
    rows = demonstrations(600, seed=0, obeying=0.5)
    share = sum(obeyed(row["item"], row["messages"][-1]["content"]) == 1 for row in rows) / len(rows)
    assert 0.5 <= share <= 0.7  # plain answers obey some constraints by chance
    good = [row for row in rows if row["quality"] == "good"]
    assert 0.42 <= len(good) / len(rows) <= 0.58
    assert all(obeyed(row["item"], row["messages"][-1]["content"]) == 1 for row in good)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"check": "bulets", "count": 2}, "not known; there are one_word"),
        ({"check": "bullets"}, "settings {}"),
    ],
)
def test_a_check_that_cannot_be_made_is_named(check: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        judge({"checks": [check]}, "- a\n- b")
