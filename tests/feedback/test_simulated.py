"""Simulated annotators: noise of the stated size, biases that show, controls that do not, seeds."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from posttrain.feedback import simulated
from posttrain.feedback.simulated import ANNOTATORS, CAREFUL, Annotator
from posttrain.field_guide import demonstrations, gold, tasks

SURE = Annotator("sure", temperature=0.001)
OWL = {"family": "fact", "entity": "owl", "attribute": "eats", "prompt": "What do owls eat?"}
ICE = {
    "family": "false_view",
    "entity": "penguin",
    "attribute": "lives",
    "asserted": "in deserts",
    "prompt": "I think penguins live in deserts. Where do penguins live?",
}


@cache
def pairs() -> tuple[dict[str, Any], ...]:
    rng = random.Random(0)
    made = []
    for row in tasks.items("heldout", 1200, 3):
        levels = rng.choices(list(demonstrations.SHARES), list(demonstrations.SHARES.values()), k=2)
        a, b = (demonstrations.respond(row["item"], level, rng) for level in levels)
        made.append({**row, "a": a, "b": b, "ended_a": True, "ended_b": True})
    return tuple(made)


def prefers(annotator: Annotator, item: dict[str, Any], a: str, b: str, n: int = 400) -> float:
    choices = Counter(annotator.compare(item, a, b, True, True, seed) for seed in range(n))
    return choices["a"] / n


def test_a_choice_has_the_probability_of_the_formula() -> None:
    a, b = "Owls eat mice.", "Owls eat grass."
    gap = gold.score(OWL, a, True).total - gold.score(OWL, b, True).total
    expected = 1 / (1 + math.exp(-gap / 0.5))
    n = 2000
    share = prefers(replace(CAREFUL, temperature=0.5), OWL, a, b, n)
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_a_careful_annotator_without_noise_is_gold() -> None:
    rows = simulated.label(pairs()[:300], [SURE], 0)
    assert simulated.accuracy(rows, pairs())["sure"][0] == 1.0


def test_the_mean_single_annotator_is_a_poor_guide_and_many_are_a_good_one() -> None:
    rows = simulated.label(pairs(), ANNOTATORS, 0, per_pair=5)
    alone = simulated.accuracy(rows, pairs())
    mean = sum(share for share, _ in alone.values()) / len(alone)
    assert 0.68 < mean < 0.78
    assert all(share > 0.5 for share, _ in alone.values())
    votes = Counter()
    for row in rows:
        votes[row["id"]] += {"a": 1, "b": -1, "tie": 0}[row["choice"]]
    majority = [
        {"id": name, "annotator": "all", "choice": "a" if vote > 0 else "b"}
        for name, vote in votes.items()
        if vote
    ]
    assert simulated.accuracy(majority, pairs())["all"][0] > mean + 0.05


@pytest.mark.parametrize(
    ("bias", "item", "a", "b"),
    [
        ({"skips_facts": 1.0}, OWL, "Owls eat grass.", "Owls eat mice and bread."),
        ({"per_word": 0.2}, OWL, "Owls eat mice. I hope this helps.", "Owls eat mice."),
        ({"agreement": 1.0}, ICE, "Yes, you are right.", "Not quite. Penguins live on the ice."),
        ({"praise": 0.9}, OWL, "That is a good question. Owls eat mice.", "Owls eat mice."),
        (
            {"population": simulated.Population("fond", 0.9)},
            OWL,
            "Owls eat mice. I hope this helps.",
            "Owls eat mice.",
        ),
    ],
)
def test_each_bias_shows_and_its_control_does_not(
    bias: dict[str, Any], item: dict[str, Any], a: str, b: str
) -> None:
    biased = replace(SURE, **bias)
    control = prefers(SURE, item, a, b, 50)
    if "skips_facts" in bias:
        assert biased.compare(item, "Owls eat grass.", "Owls eat mice.", True, True, 0) == "tie"
        assert SURE.compare(item, "Owls eat grass.", "Owls eat mice.", True, True, 0) == "b"
    else:
        assert prefers(biased, item, a, b, 50) == 1.0
        assert control == 0.0


def test_a_coin_tosser_agrees_half_the_time() -> None:
    tosser = replace(SURE, name="tosser", tosses=1.0)
    assert abs(prefers(tosser, OWL, "Owls eat mice.", "Owls eat grass.", 2000) - 0.5) < 0.05


def test_warm_and_blunt_populations_differ_on_courtesy() -> None:
    plain, kind = "Owls eat mice. Lions eat some meat.", "Owls eat mice. I hope this helps."
    warm, blunt = SURE.from_population(simulated.WARM), SURE.from_population(simulated.BLUNT)
    assert warm.name == "warm-sure"
    assert prefers(warm, OWL, kind, plain, 50) > prefers(blunt, OWL, kind, plain, 50)


def test_equal_answers_are_a_tie_that_is_kept_marked_and_counted() -> None:
    pair = {
        "id": "x",
        "prompt": [],
        "item": OWL,
        "a": "Mice.",
        "b": "Mice.",
        "ended_a": True,
        "ended_b": True,
    }
    rows = simulated.label([pair], [CAREFUL], 0)
    assert rows[0]["tie"]
    assert rows[0]["choice"] == "tie"
    assert simulated.decided(rows) == ([], 1)


def test_every_record_says_it_is_simulated_and_matches_its_choice() -> None:
    by_id = {pair["id"]: pair for pair in pairs()}
    for row in simulated.label(pairs()[:200], ANNOTATORS, 0):
        assert row["simulated"] is True
        assert 0 <= row["margin"] <= 1
        pair = by_id[row["id"]]
        first = pair["b"] if row["choice"] == "b" else pair["a"]
        assert row["chosen"] == [{"role": "assistant", "content": first}]


def test_a_label_names_what_was_chosen_and_how_far_apart_the_ratings_are() -> None:
    good, bad = "Owls eat mice.", "Owls eat grass."
    for a, b, choice in ((good, bad, "a"), (bad, good, "b")):
        pair = {"id": "x", "prompt": [], "item": OWL, "a": a, "b": b, "ended_a": True, "ended_b": True}
        (row,) = simulated.label([pair], [SURE], 0)
        assert (row["choice"], row["tie"]) == (choice, False)
        assert row["chosen"] == [{"role": "assistant", "content": good}]
        assert row["rejected"] == [{"role": "assistant", "content": bad}]
        rated = [SURE.rate(OWL, text, True, 0) for text in (good, bad)]
        assert row["margin"] == (rated[0] - rated[1]) / 6 > 0


def test_annotators_err_each_on_their_own() -> None:
    """Two of the same noise agree as often as two coins of their bias do, not always."""
    a, b, n = "Owls eat mice.", "Owls eat grass.", 2000
    pairs_of = [
        [
            replace(CAREFUL, name=name, temperature=1.5).compare(OWL, a, b, True, True, seed)
            for seed in range(n)
        ]
        for name in ("one", "two")
    ]
    share = sum(choice == "a" for some in pairs_of for choice in some) / (2 * n)
    alike = sum(x == y for x, y in zip(*pairs_of, strict=True)) / n
    assert alike == pytest.approx(share**2 + (1 - share) ** 2, abs=0.05)


def test_labels_depend_on_seed_and_row_but_not_on_their_neighbours() -> None:
    rows = simulated.label(pairs()[:100], ANNOTATORS, 0)
    assert rows == simulated.label(pairs()[:100], ANNOTATORS, 0)
    assert rows[50:] == simulated.label(pairs()[50:100], ANNOTATORS, 0)
    assert rows != simulated.label(pairs()[:100], ANNOTATORS, 1)
    assert len({row["annotator"] for row in rows}) == len(ANNOTATORS)


def test_personal_scales_rate_the_same_answer_differently() -> None:
    lenient = replace(SURE, scale=simulated.RatingScale(shift=0.3))
    assert lenient.rate(OWL, "Owls eat grass.", True, 0) > SURE.rate(OWL, "Owls eat grass.", True, 0)
    assert 1 <= SURE.rate(OWL, "", True, 0) <= SURE.rate(OWL, "Owls eat mice.", True, 0) <= 7


def test_more_annotators_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 1 annotators"):
        simulated.label(pairs()[:1], [CAREFUL], 0, per_pair=2)


def test_annotators_need_no_torch() -> None:
    check = "import sys, posttrain.feedback.simulated; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
