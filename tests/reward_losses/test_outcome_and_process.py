from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from posttrain.core.preferences import outcomes
from posttrain.reward_losses.outcome import Outcome
from posttrain.reward_losses.process import Process
from tests.reward_losses.said import said, scores

NAN = float("nan")


def test_an_outcome_is_the_label_at_the_last_step() -> None:
    labels = torch.tensor([[NAN, 0, 1], [NAN, 1, 0], [NAN, 1, NAN], [NAN, 1, 1]])
    past = replace(said([0, 0, 0, -1], [0, 1, 2, 3]), labels=labels)
    assert outcomes(past).tolist()[:2] == [1, 0]
    assert outcomes(past)[2:].isnan().all()
    term = Outcome().loss(scores(torch.tensor([2.0, 1.0, 5.0, 5.0])), past)["outcome_loss"]
    want = (math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2
    assert float((term.reduction(past) * term.values).sum()) == pytest.approx(want, rel=1e-6)


def test_without_labels_the_rank_says_it() -> None:
    assert outcomes(said([0, 1, 2], [0, 1, 2])).tolist() == [1, 0, 0]


def test_an_outcome_model_is_calibrated() -> None:
    """Eight answers that look the same, three of them right."""
    past = said([0, 0, 0, 1, 1, 1, 1, 1], list(range(8)))
    reward = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([reward], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        term = Outcome().loss(scores(reward.expand(8)), past)["outcome_loss"]
        loss = (term.reduction(past) * term.values).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert float(reward.detach().sigmoid()) == pytest.approx(3 / 8, abs=1e-6)


def test_a_process_label_is_of_its_step() -> None:
    labels = torch.tensor([[NAN, 1, 0], [1, NAN, 1]])
    past = replace(said([0, 0], [0, 1]), labels=labels)
    values = torch.tensor([[9.0, 2.0, 3.0], [9.0, 9.0, -1.0]], dtype=torch.float64, requires_grad=True)
    terms = Process().loss(values, past)
    term = terms["process_loss"]
    loss = (term.reduction(past) * term.values).sum()
    want = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(3)), math.log(1 + math.exp(1))]
    assert float(loss.detach()) == pytest.approx(sum(want) / 3, rel=1e-9)
    loss.backward()
    spoken = [[False, True, True], [False, False, True]]
    assert (values.grad != 0).tolist() == spoken
    right = terms["accuracy"]
    assert float((right.reduction(past) * right.values).sum()) == pytest.approx(1 / 3)


def test_a_process_model_refuses_to_guess() -> None:
    past = said([0, 1], [0, 0])
    with pytest.raises(ValueError, match="labels"):
        Process().loss(scores(torch.zeros(2)), past)
