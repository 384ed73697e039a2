from __future__ import annotations

import math

import torch

from posttrain.core.preferences import logistic, on_winner, pair_confidence, pair_margin, pairs, ranked
from tests.tiny import rollouts


def said(rank: list[int], group: list[int], **more: torch.Tensor):  # type: ignore[no-untyped-def]
    rows = len(rank)
    facts = rollouts(
        torch.zeros(rows, 2, dtype=torch.long),
        torch.ones(rows, 1, dtype=torch.bool),
        group=torch.tensor(group),
    )
    return ranked(facts, torch.tensor(rank), **more)


def test_every_ranked_two_of_a_group_are_a_pair() -> None:
    between = pairs(said([1, 0, 2, 0, 1], [5, 5, 5, 2, 2]))
    assert list(zip(between.winner.tolist(), between.loser.tolist(), strict=True)) == [
        (0, 2),
        (1, 0),
        (1, 2),
        (3, 4),
    ]


def test_ties_strangers_and_the_unranked_make_no_pair() -> None:
    assert not len(pairs(said([0, 0, -1, 0, 1], [0, 0, 0, 1, 2])).winner)


def test_a_pair_is_booked_on_its_winner() -> None:
    past = said([0, 1, 2], [0, 0, 0])
    assert on_winner(torch.tensor([1.0, 10, 100]), pairs(past), 3).tolist() == [11, 100, 0]


def test_margin_is_a_difference_and_confidence_the_smaller() -> None:
    past = said([0, 1], [0, 0], margin=torch.tensor([3.0, 1]), confidence=torch.tensor([0.9, 0.7]))
    assert pair_margin(past, pairs(past)).tolist() == [2]
    assert pair_confidence(past, pairs(past)).tolist() == torch.tensor([0.7]).tolist()


def test_the_logistic_loss() -> None:
    one = torch.ones(1, dtype=torch.float64)
    assert logistic(0 * one, one).item() == math.log(2)
    assert math.isclose(logistic(2 * one, one).item(), math.log(1 + math.exp(-2)))
    half = logistic(2 * one, one / 2).item()
    assert math.isclose(half, (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2)
    assert logistic(-1000 * one, one).item() == 1000


def test_the_loss_of_an_unsure_label_is_least_at_its_log_odds() -> None:
    d = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    sure = torch.tensor([0.8], dtype=torch.float64)
    with torch.no_grad():
        d += math.log(0.8 / 0.2)
    logistic(d, sure).sum().backward()
    assert d.grad is not None
    assert d.grad.abs() < 1e-12
