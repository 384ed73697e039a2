from __future__ import annotations

import math

import pytest
import torch

from posttrain.core.importance import Masked, Truncated, effective_sample_size

MASK = torch.tensor([[False, True, True, True, True]])
NAN = float("nan")
SAMPLER = torch.tensor([[NAN, -1.0, -1.0, -1.0, NAN]])
TRAINER = torch.tensor([[NAN, -1.0, -1.0 + math.log(4), -1.0 + math.log(0.25), -3.0]])


def test_a_large_ratio_is_bounded_and_an_unknown_one_is_one() -> None:
    got = Truncated(cap=2.0).weights(TRAINER, SAMPLER, MASK)
    torch.testing.assert_close(got, torch.tensor([[0, 1, 2, 0.25, 1]]))


def test_a_ratio_out_of_bounds_is_dropped() -> None:
    got = Masked(low=0.5, high=5.0).weights(TRAINER, SAMPLER, MASK)
    torch.testing.assert_close(got, torch.tensor([[0.0, 1, 4, 0, 1]]))


def test_the_expectation_is_the_trainers() -> None:
    """Unbounded, the weighted mean over the sampler's choices is the trainer's mean."""
    p, q = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.4, 0.4, 0.2])
    worth, mask = torch.tensor([1.0, -2.0, 5.0]), torch.ones(1, 3, dtype=torch.bool)
    weights = Truncated(cap=1e9).weights(p.log()[None], q.log()[None], mask)[0]
    assert (q * weights * worth).sum().item() == pytest.approx((p * worth).sum().item(), rel=1e-6)


def test_effective_sample_size() -> None:
    assert effective_sample_size(MASK.float(), MASK) == 1
    assert effective_sample_size(torch.tensor([[9.0, 1, 0, 0, 0]]), MASK) == 0.25
    assert effective_sample_size(torch.zeros(1, 5), MASK) == 0
