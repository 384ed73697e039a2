from __future__ import annotations

import pytest
import torch

from posttrain.core.batch import Evaluation
from posttrain.core.preferences import wanted
from posttrain.direct_alignment.sft import SFT
from tests.tiny import rollouts

MASK = torch.tensor([[False, True, True, True], [True, False, False, False]])
PAST = wanted(rollouts(torch.zeros(2, 5, dtype=torch.long), MASK))


def test_it_is_the_mean_over_supervised_tokens() -> None:
    logprobs = torch.full((2, 4), float("nan")).masked_scatter(MASK, torch.tensor([-1.0, -2, -3, -10]))
    term = SFT().loss(Evaluation(logprobs=logprobs), PAST)["nll"]
    assert (term.reduction(PAST) * term.values).sum() == 4
    assert term.coef == 1


def test_it_converges_to_the_frequencies_of_the_demonstrations() -> None:
    actions = torch.tensor([0, 0, 0, 1, 1, 2])
    past = wanted(rollouts(torch.stack([actions * 0, actions], 1), torch.ones(6, 1, dtype=torch.bool)))
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        now = Evaluation(logprobs=logits.log_softmax(0)[past.rollouts.actions])
        term = SFT().loss(now, past)["nll"]
        loss = (term.reduction(past) * term.values).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert logits.detach().softmax(0).tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 6], abs=1e-4)
