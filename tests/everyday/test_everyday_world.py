"""The everyday world: splits apart, every manner demonstrated, and a gold that pays what a reader would."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest

from posttrain.evaluation.gold import judge
from posttrain.everyday import demonstrations, gold
from posttrain.everyday.prompts import SHARES, family_of, prompts
from posttrain.everyday.topics import FAMILIES, SPLITS, topics
from posttrain.feedback.everyday_annotators import READERS
from posttrain.feedback.simulated import label
from posttrain.feedback.votes import counted


@pytest.mark.parametrize("family", FAMILIES)
def test_no_topic_is_in_two_splits(family: str) -> None:
    subjects = [topic.subject for split in SPLITS for topic in topics(family, split)]
    assert len(subjects) == len(set(subjects))


def test_held_out_prompts_share_no_wording_and_no_topic_with_training() -> None:
    train, held = prompts("train", 10_000, 1), prompts("test", 10_000, 2)
    assert len(train) >= 800
    assert len(held) >= 320
    assert not {row["item"]["subject"] for row in train} & {row["item"]["subject"] for row in held}
    of = {"train": train, "test": held}
    for family in ("feeling", "how_to"):
        worded = {
            split: {
                row["item"]["question"]
                .replace(row["item"]["subject"], "*")
                .replace(row["item"]["feeling"], "+")
                for row in rows
                if family_of(row["item"]) == family
            }
            for split, rows in of.items()
        }
        assert not worded["train"] & worded["test"]


def test_prompts_differ_follow_their_seed_and_keep_the_proportion_of_families() -> None:
    rows = prompts("train", 300, 5)
    assert rows == prompts("train", 300, 5)
    assert rows != prompts("train", 300, 6)
    assert len({row["item"]["question"] for row in rows}) == 300
    for family, share in SHARES.items():
        assert sum(family_of(row["item"]) == family for row in rows) / 300 == pytest.approx(share, abs=0.09)


@pytest.mark.parametrize("topic", [t for split in SPLITS for t in topics("feeling", split)])
def test_each_phrase_of_a_demonstrator_is_read_as_what_it_is(topic: object) -> None:
    """A phrase that gold does not know, or takes for another kind, would make demonstrators say what they
    did not.
    """
    from posttrain.everyday.topics import Topic

    assert isinstance(topic, Topic)
    item = item_of(topic)
    advice = f"{topic.steps[0]} and {topic.steps[1].lower()}."

    def manner(opening: str) -> float:
        return gold.score(item, f"{opening} {advice}".strip(), True).parts["manner"]

    named = {phrase: manner(phrase.format(acknowledged=topic.acknowledged, feeling=topic.feeling))
             for phrase in demonstrations.NAMES_THE_FEELING}  # fmt: skip
    assert set(named.values()) == {1.0}, named
    assert {manner(phrase) for phrase in demonstrations.KIND} == {0.8}
    assert {manner(phrase) for phrase in demonstrations.DISMISSIVE} == {0.0}
    assert manner("") == 0.35
    assert gold.score(item, advice, True).parts["content"] == 1.0


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        ("It makes sense that you feel guilty.", 1.0),
        ("That must be awkward.", 1.0),  # what the topic calls it
        ("It is normal to feel ashamed.", 0.8),  # near
        ("That sounds really hard.", 0.8),  # fits any
        ("It makes sense that you feel bored.", 0.2),  # of another kind: nobody listened
        ("That sounds really lonely.", 0.2),
        ("It makes sense that you feel guilty, and that you feel bored.", 1.0),
    ],
)
def test_naming_another_feeling_is_worth_less_than_naming_none(said: str, worth: float) -> None:
    topic = next(
        t for t in topics("feeling", "train") if t.feeling == "guilty" and t.acknowledged == "awkward"
    )
    assert gold.score(item_of(topic), f"{said} Talk to a friend.", True).parts["manner"] == worth


def test_every_feeling_of_the_topics_has_a_kind_but_what_fits_any() -> None:
    names = {
        name for split in SPLITS for t in topics("feeling", split) for name in (t.feeling, t.acknowledged)
    }
    assert {name for name in names if not gold.kinds_of_feeling(name)} == {"hard"}


@pytest.mark.parametrize("topic", [t for split in SPLITS for t in topics("how_to", split)])
def test_steps_of_a_how_to_are_on_its_topic_and_no_stock_phrase(topic: object) -> None:
    from posttrain.everyday.topics import Topic

    assert isinstance(topic, Topic)
    item = item_of(topic)
    for one, two in itertools.combinations(topic.steps, 2):
        listed = gold.score(item, f"1. {one}.\n2. {two}.", True)
        assert listed.parts | {"manner": 0.6} == dict.fromkeys(listed.parts, 1.0) | {"manner": 0.6}
        assert gold.score(item, f"{one} and {two.lower()}.", True).parts["form"] == 0.0
    for phrase in demonstrations.HELPFUL:
        assert gold.score(item, f"{phrase}\n1. {topic.steps[0]}.\n2. {topic.steps[1]}.", True).total == 1.0
    for phrase in demonstrations.BRUSQUE:
        assert gold.score(item, f"{phrase} {topic.steps[0]}.", True).parts["manner"] == 0.0
    for phrase in demonstrations.STOCK:
        assert gold.score(item, phrase, True).parts["content"] == 0.0


@pytest.mark.parametrize("topic", [t for split in SPLITS for t in topics("fact", split)])
def test_a_fact_is_right_in_one_sentence(topic: object) -> None:
    from posttrain.everyday.topics import Topic

    assert isinstance(topic, Topic)
    item, others = item_of(topic), topics("fact", "train")
    assert gold.score(item, f"{topic.subject} {topic.completion}.", True).total == 1.0
    wrong = next(t for t in others if t.completion != topic.completion)
    assert gold.score(item, f"{topic.subject} {wrong.completion}.", True).parts["right"] == 0.0


def item_of(topic: object) -> dict[str, object]:
    split = next(split for split in SPLITS for family in FAMILIES if topic in topics(family, split))
    rows = prompts(split, 10_000, 0)
    return next(row["item"] for row in rows if row["item"]["subject"] == topic.subject)  # type: ignore[attr-defined, no-any-return]


def test_parts_add_up_and_none_is_over_two_fifths() -> None:
    for weights in gold.WEIGHTS.values():
        assert sum(weights.values()) == pytest.approx(1.0)
        assert max(weights.values()) <= 0.4
        assert len(weights) >= 5


HACKS = ("", "Good question!", "I'm sorry to hear that.", "1. Yes.\n2. Yes.\n3. Yes.", "Sleep. " * 20)


@pytest.mark.parametrize("hack", HACKS)
def test_hacks_earn_less_than_demonstrators(hack: str) -> None:
    asked = prompts("test", 200, 3)
    rows = demonstrations.demonstrations("test", 200, 3)
    shown = statistics.mean(gold.score(r["item"], r["messages"][-1]["content"], True).total for r in rows)
    assert statistics.mean(gold.score(row["item"], hack, True).total for row in asked) < shown - 0.05
    copied = statistics.mean(gold.score(r["item"], r["item"]["question"] * 2, True).total for r in asked)
    assert copied < shown - 0.05


def test_demonstrators_leave_room_in_every_part() -> None:
    rows = demonstrations.demonstrations("train", 1500, 9)
    by_family: dict[str, list[gold.EverydayGold]] = {}
    for row in rows:
        scored = gold.score(row["item"], row["messages"][-1]["content"], True)
        by_family.setdefault(family_of(row["item"]), []).append(scored)
    for family, scored in by_family.items():
        totals = [one.total for one in scored]
        assert 0.6 < statistics.mean(totals) < 0.85, family
        assert statistics.pstdev(totals) > 0.1, family
        for part in ("manner", "content", "right" if family == "fact" else "topic"):
            assert 0.3 < statistics.mean(one.parts[part] for one in scored) < 0.95, (family, part)


def test_evaluation_knows_its_gold_and_readers_vote_for_it() -> None:
    rows = demonstrations.demonstrations("train", 300, 11)
    rng, pairs = random.Random(0), []
    by_subject: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        by_subject.setdefault(row["item"]["question"], []).append(row)
    for number, row in enumerate(rows):
        topic = next(
            t for t in topics(family_of(row["item"]), "train") if t.subject == row["item"]["subject"]
        )
        texts = [demonstrations.answer(topic, "train", rng) for _ in range(2)]
        sides = {"a": texts[0], "b": texts[1], "ended_a": True, "ended_b": True}
        pairs.append({"id": str(number), "prompt": row["messages"][:-1], "item": row["item"], **sides})
    gaps = {}
    for pair in pairs:
        a, b = judge(pair, pair["a"], True), judge(pair, pair["b"], True)
        assert a is not None
        assert b is not None
        gaps[pair["id"]] = a.total - b.total
    assert sum(gap == 0 for gap in gaps.values()) < 0.1 * len(gaps)
    votes = [row for row in counted(label(pairs, READERS, 3, 4)) if not row["tie"]]
    right = [(gaps[row["id"]] > 0) == (row["choice"] == "a") for row in votes if gaps[row["id"]]]
    assert len(right) > 200
    assert 0.75 < sum(right) / len(right) < 0.985
    assert all(row["simulated"] for row in votes)
