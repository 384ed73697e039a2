"""Agreement against values worked out by hand."""

from __future__ import annotations

import math
import random

import pytest

from posttrain.feedback.agreement import agreement, choices_of


def test_complete_agreement_is_one() -> None:
    found = agreement({1: {"x": "a", "y": "a"}, 2: {"x": "b", "y": "b"}})
    assert (found.raw, found.alpha, found.questions) == (1.0, 1.0, 2)


def test_a_small_table_by_hand() -> None:
    # Choices aa, ab, bb and one seen once: 6 values, 3 of each; D_o = 2 / 6, D_e = 18 / 30.
    table = {1: {"x": "a", "y": "a"}, 2: {"x": "a", "y": "b"}, 3: {"x": "b", "y": "b"}, 4: {"x": "a"}}
    found = agreement(table)
    assert found.raw == pytest.approx(2 / 3)
    assert found.alpha == pytest.approx(1 - (2 / 6) / (18 / 30))


def test_three_annotators_by_hand() -> None:
    # aab and bbb: D_o = (4 / 2) / 6, D_e = 2 * 2 * 4 / 30.
    found = agreement({1: {"x": "a", "y": "a", "z": "b"}, 2: {"x": "b", "y": "b", "z": "b"}})
    assert found.raw == pytest.approx(4 / 6)
    assert found.alpha == pytest.approx(1 - (2 / 6) / (16 / 30))


def test_chance_is_near_zero() -> None:
    rng = random.Random(0)
    found = agreement({n: {"x": rng.choice("ab"), "y": rng.choice("ab")} for n in range(4000)})
    assert abs(found.alpha) < 0.05


def test_nothing_shared_is_not_a_number() -> None:
    assert math.isnan(agreement({1: {"x": "a"}}).alpha)
    assert math.isnan(agreement({1: {"x": "a", "y": "a"}}).alpha)


def test_choices_are_read_from_rows() -> None:
    rows = [{"id": 1, "annotator": "x", "choice": "a"}, {"id": 1, "annotator": "y", "choice": "tie"}]
    assert choices_of(rows) == {1: {"x": "a", "y": "tie"}}
