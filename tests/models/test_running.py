"""Moments of a stream, whatever it was cut into."""

from __future__ import annotations

import torch

from posttrain.models.running import LIMIT, RunningNormaliser


def test_moments_of_parts_are_those_of_the_whole() -> None:
    stream = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * 50 + torch.tensor(
        [0.0, 9, -400]
    )
    running = RunningNormaliser(3)
    for part in stream.split([1, 50, 7, 142]):
        running.update(part)
    assert torch.allclose(running.mean, stream.double().mean(0), rtol=1e-12)
    assert torch.allclose(running.variance, stream.double().var(0, correction=0), rtol=1e-12)
    read = running(stream)
    assert float(read.mean(0).abs().max()) < 1e-4
    assert torch.allclose(read.std(0, correction=0), torch.ones(3), atol=1e-4)


def test_it_begins_as_the_identity_and_never_reads_far_out() -> None:
    running = RunningNormaliser(2)
    assert running(torch.tensor([[3.0, -4.0]])).tolist() == [[3.0, -4.0]]
    running.update(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert running(torch.tensor([[900.0, 1.0]])).tolist() == [[LIMIT, 0.0]]  # what never moved reads as 0
