"""How sure a reward model is, and whether it goes by length, against numbers worked out by hand."""

import math

import pytest
import torch

from posttrain.evaluation.sure_and_long import sure_and_long


def test_sure_and_long() -> None:
    log3 = math.log(3.0)  # sure of 3/4, whichever answer it prefers
    figures = sure_and_long(torch.tensor([log3, -log3, 0.0, log3]), [2, 2, -1, 0])
    assert figures["confidence_heldout"] == pytest.approx((0.75 * 3 + 0.5) / 4)
    assert figures["prefers_longer"] == pytest.approx(1.5 / 3)
    assert figures["prefers_longer_n"] == 3


def test_the_shorter_answer_scores_higher_where_the_longer_was_chosen() -> None:
    assert sure_and_long(torch.tensor([-1.0, -1.0, -2.0, 1.0]), [1, 1, 5, -4])["prefers_longer"] == 0.0
    assert sure_and_long(torch.tensor([1.0, 1.0, 2.0, -1.0]), [1, 1, 5, -4])["prefers_longer"] == 1.0


def test_answers_of_equal_length_say_nothing_of_length() -> None:
    assert sure_and_long(torch.tensor([1.0, 2.0]), [0, 0])["prefers_longer"] == "unknown"
