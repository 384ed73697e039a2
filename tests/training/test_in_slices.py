"""What a model thinks of a batch in slices stands in the order of its rows."""

from __future__ import annotations

import torch

from posttrain.core.batch import Rollouts, Wants
from posttrain.training.in_slices import in_slices
from tests.tiny import TinyPolicy, rollouts

SLICES = [torch.tensor([4, 0]), torch.tensor([2, 3, 1])]


def batch() -> Rollouts:
    tokens = torch.randint(0, 5, (5, 4), generator=torch.Generator().manual_seed(0))
    return rollouts(tokens, torch.ones(5, 3, dtype=torch.bool))


def test_rows_keep_their_places_whatever_the_slices() -> None:
    policy = TinyPolicy()
    whole = policy.evaluate(batch(), Wants(values=True))
    cut = in_slices(lambda part: policy.evaluate(part, Wants(values=True)), batch(), SLICES)
    torch.testing.assert_close(cut.logprobs, whole.logprobs)
    torch.testing.assert_close(cut.values, whole.values)
    assert not cut.logprobs.requires_grad
    scores = in_slices(lambda part: policy.score(part), batch(), SLICES)
    torch.testing.assert_close(scores, whole.values)
