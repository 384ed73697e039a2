"""Agreement with gold: ties dropped and counted, clear pairs apart, controls beside it."""

from typing import Any

import pytest

from posttrain.evaluation import reward_accuracy
from posttrain.evaluation.gold_curve import gold_over_steps
from posttrain.metrics import flat

ITEM = {"family": "constraint", "checks": [{"check": "lowercase"}, {"check": "one_word"}]}


def pair(name: str, a: str, b: str) -> dict[str, Any]:
    return {"id": name, "prompt": [], "item": ITEM, "a": a, "b": b, "ended_a": True, "ended_b": True}


PAIRS = [
    pair("1", "word", "Two Words"),  # 1.0 against 0.0
    pair("2", "Two Words", "two words"),  # 0.0 against 0.5
    pair("3", "Word", "two words"),  # a tie
]


def test_ties_are_dropped_and_counted() -> None:
    metrics = flat(reward_accuracy.accuracy(PAIRS, [(2.0, 1.0), (3.0, 1.0), (9.0, 0.0)]))
    assert metrics["accuracy"] == pytest.approx(0.5)
    assert metrics["accuracy_n"] == 2
    assert metrics["gold_ties"] == 1


def test_clear_pairs_are_those_half_a_standard_deviation_apart() -> None:
    gaps, clear = reward_accuracy.gold_gaps(PAIRS)
    assert gaps == [1.0, -0.5, 0.0]
    assert 0.1 < clear < 0.25
    assert reward_accuracy.agreement([1.0, 1.0, 1.0], gaps, 0.75).n == 1


def test_word_count_is_a_control_in_its_better_direction() -> None:
    metrics = flat(reward_accuracy.accuracy(PAIRS, [(1.0, 0.0)] * 3, control=[(0.0, 1.0)] * 3))
    assert metrics["control/word_count"] == pytest.approx(0.75)  # shorter: right once, equally long once
    assert metrics["control/shuffled"] == pytest.approx(0.5)


def test_pairs_nobody_can_judge_are_unknown() -> None:
    unjudged = [{**pair("1", "a", "b"), "item": None}]
    assert reward_accuracy.accuracy(unjudged, [(1.0, 0.0)])["accuracy"].value == "unknown"


def test_annotators_are_measured_one_by_one_and_their_mean_is_theirs_alone() -> None:
    rows = [
        {"id": "1", "annotator": "good", "choice": "a"},
        {"id": "2", "annotator": "good", "choice": "b"},
        {"id": "1", "annotator": "bad", "choice": "b"},
        {"id": "2", "annotator": "bad", "choice": "tie"},
        {"id": "3", "annotator": "bad", "choice": "a"},
    ]
    metrics = flat(reward_accuracy.of_annotators(PAIRS, rows))
    assert metrics["annotators/good"] == 1.0
    assert metrics["annotators/bad"] == 0.0
    assert metrics["annotators"] == 0.5


def test_gold_over_steps_is_read_from_kept_episodes() -> None:
    episodes = [
        {"step": step, "prompt": {"item": ITEM}, "response": text, "ended": True}
        for step, text in ((0, "Two Words"), (0, "word"), (1, "word"))
    ]
    rows = list(gold_over_steps(episodes))
    assert [(row["step"], row["gold"]) for row in rows] == [(1, 0.5), (2, 1.0)]
    assert not list(gold_over_steps([{**episodes[0], "prompt": {}}]))


def test_what_is_learned_from_is_measured_against_gold() -> None:
    rows = [{"id": "1", "choice": "a"}, {"id": "2", "choice": "a"}, {"id": "3", "choice": "b"}]
    metrics = flat(reward_accuracy.of_comparisons(PAIRS, rows))
    assert metrics["comparisons_gold_tied_share"] == pytest.approx(1 / 3)  # pair 3
    assert metrics["comparisons_right_share"] == pytest.approx(1 / 2)  # pair 1, and not pair 2
    assert reward_accuracy.of_comparisons(PAIRS, [])["comparisons_gold_tied_share"].value == "unknown"


def test_pairs_of_the_final_policy_are_clear_by_the_gap_of_the_others() -> None:
    metrics = flat(reward_accuracy.on_policy(PAIRS, [(2.0, 1.0), (3.0, 1.0), (9.0, 0.0)], 0.75))
    assert metrics["accuracy_on_policy"] == pytest.approx(0.5)
    assert metrics["accuracy_on_policy/clear"] == 1.0
    assert metrics["accuracy_on_policy/clear_n"] == 1
