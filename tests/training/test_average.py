"""The average of weights: as the sum says, none of where it began, and the noise of it less."""

from __future__ import annotations

import pytest
import torch

from posttrain.training.average import Average


def test_it_is_the_weighted_sum_without_the_start() -> None:
    weight = torch.tensor([100.0], dtype=torch.float64)
    average = Average([weight], 0.5)
    for value in (1.0, 2.0, 4.0):
        weight.fill_(value)
        average.add()
    average.take_over()
    assert weight.item() == pytest.approx((0.25 * 1 + 0.5 * 2 + 4) / 1.75, rel=1e-12)


def test_noise_around_an_optimum_becomes_less() -> None:
    made = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(50, dtype=torch.bfloat16))
    average = Average([weight], 0.98)
    for _ in range(300):
        weight.data = (3 + torch.randn(50, generator=made)).to(torch.bfloat16)
        average.add()
    average.take_over()
    assert float((weight.detach().float() - 3).abs().mean()) < 0.2


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_without_meaning_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        Average([torch.zeros(1)], decay)


def test_nothing_cannot_be_averaged() -> None:
    with pytest.raises(ValueError, match="nothing to average"):
        Average([torch.zeros(1)], 0.9).take_over()
