from __future__ import annotations

import torch

from posttrain.core.masked import last_step, lengths, masked_mean, masked_sum, per_decision, zero_outside

MASK = torch.tensor([[False, True, True, False], [True, False, True, False], [False] * 4])
X = torch.tensor([[9.0, 1, 2, 9], [4, 9, 5, 9], [9, 9, 9, 9]])


def test_sums_and_means_are_over_chosen_steps() -> None:
    assert masked_sum(X, MASK).tolist() == [3, 9, 0]
    assert masked_mean(X, MASK) == 3
    assert lengths(MASK).tolist() == [2, 2, 0]
    assert last_step(MASK).tolist() == [2, 2, 0]


def test_junk_outside_the_mask_changes_nothing_bitwise() -> None:
    junk = X.masked_fill(~MASK, float("nan"))
    assert torch.equal(masked_sum(junk, MASK), masked_sum(X, MASK))
    assert torch.equal(masked_mean(junk, MASK), masked_mean(X, MASK))
    assert torch.equal(per_decision(junk, MASK, MASK.long()), per_decision(X, MASK, MASK.long()))


def test_no_gradient_passes_outside_the_mask() -> None:
    x = X.masked_fill(~MASK, float("nan")).requires_grad_()
    zero_outside(x, MASK).square().sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, zero_outside(2 * X, MASK))


def test_a_decision_is_the_sum_of_its_steps() -> None:
    turn = torch.tensor([[0, 0, 0, 0], [3, 3, 7, 7], [0, 0, 0, 0]])
    assert per_decision(X, MASK, turn).tolist() == [[0, 3, 3, 0], [4, 0, 5, 0], [0, 0, 0, 0]]


def test_a_decision_a_step_is_the_identity() -> None:
    turn = torch.arange(4).expand(3, 4)
    assert torch.equal(per_decision(X, MASK, turn), zero_outside(X, MASK))


def test_the_mean_of_nothing_is_zero() -> None:
    assert masked_mean(X, torch.zeros_like(MASK)) == 0
