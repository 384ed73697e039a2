"""How sure a reward model is, and whether it goes by length, against numbers worked out by hand."""

import math

import pytest
import torch

from posttrain.evaluation.confidence_and_length import confidence_and_length
from posttrain.metrics import flat


def test_sure_and_long() -> None:
    log3 = math.log(3.0)  # sure of 3/4, whichever answer it prefers
    metrics = flat(confidence_and_length(torch.tensor([log3, -log3, 0.0, log3]), [2, 2, -1, 0]))
    assert metrics["confidence_heldout"] == pytest.approx((0.75 * 3 + 0.5) / 4)
    assert metrics["prefers_longer"] == pytest.approx(1.5 / 3)
    assert metrics["prefers_longer_n"] == 3


def test_the_shorter_answer_scores_higher_where_the_longer_was_chosen() -> None:
    assert (
        confidence_and_length(torch.tensor([-1.0, -1.0, -2.0, 1.0]), [1, 1, 5, -4])["prefers_longer"].value
        == 0.0
    )
    assert (
        confidence_and_length(torch.tensor([1.0, 1.0, 2.0, -1.0]), [1, 1, 5, -4])["prefers_longer"].value
        == 1.0
    )


def test_how_much_of_the_scores_length_tells() -> None:
    tells_all = flat(confidence_and_length(torch.tensor([1.0, -2.0, 3.0, 4.0, 9.0]), [2, -4, 6, 8, 0]))
    assert tells_all["score_length"] == pytest.approx(1.0)
    assert confidence_and_length(-torch.tensor([1.0, -2.0, 3.0, 4.0]), [2, -4, 6, 8])[
        "score_length"
    ].value == (pytest.approx(-1.0))
    nothing = flat(confidence_and_length(torch.tensor([1.0, 1.0, 1.0, 1.0]), [3, -3, 2, -2]))
    assert nothing["score_length"] == pytest.approx(0.0)
    assert (nothing["label_accuracy_uneven"], nothing["longer_chosen"]) == (1.0, 0.5)
    some = flat(confidence_and_length(torch.tensor([2.0, 1.0, -1.0, 1.0]), [1, 1, 1, 1]))
    assert some["score_length"] == pytest.approx(
        3 / math.sqrt(7 * 4)
    )  # all pairs longer: no mean is taken off
    assert (some["label_accuracy_uneven"], some["longer_chosen"]) == (0.75, 1.0)
    assert -1 < some["score_length_low"] < 3 / math.sqrt(28) < some["score_length_high"] < 1  # type: ignore[operator]


def test_the_order_of_a_pair_does_not_count() -> None:
    gaps, more = torch.randn(50, generator=torch.Generator().manual_seed(0)), list(range(-25, 25))
    turned = confidence_and_length(-gaps, [-one for one in more])["score_length"].value
    assert confidence_and_length(gaps, more)["score_length"].value == pytest.approx(turned)


def test_answers_of_equal_length_say_nothing_of_length() -> None:
    metrics = flat(confidence_and_length(torch.tensor([1.0, 2.0]), [0, 0]))
    assert metrics["prefers_longer"] == "unknown"
    assert "score_length" not in metrics
