from __future__ import annotations

import pytest
import torch

from posttrain.core.preferences import ranked, wanted
from posttrain.core.reduction import (
    constant_length,
    pair_mean,
    row_mean,
    row_total,
    sequence_mean,
    token_mean,
)
from tests.tiny import rollouts

MASK = torch.tensor([[False, True, True, True], [True, False, False, False], [False] * 4])
PAST = wanted(rollouts(torch.zeros(3, 5, dtype=torch.long), MASK))


def test_weights_by_hand() -> None:
    on = MASK.double()
    assert torch.equal(token_mean(PAST), on / 4)
    assert torch.equal(sequence_mean(PAST), on / torch.tensor([[6.0], [2], [1]], dtype=torch.float64))
    assert torch.equal(row_total(PAST), on / 2)
    assert row_mean(PAST).tolist() == [0.5, 0.5, 0]
    assert torch.equal(constant_length(10)(PAST), on / 20)


def test_a_constant_length_does_not_follow_the_padded_width() -> None:
    wide = wanted(rollouts(torch.zeros(3, 10, dtype=torch.long), torch.nn.functional.pad(MASK, (0, 5))))
    assert torch.equal(constant_length(10)(wide)[:, :4], constant_length(10)(PAST))


def test_a_constant_length_is_one_function_a_number() -> None:
    assert constant_length(7) is constant_length(7)
    with pytest.raises(ValueError, match="positive length"):
        constant_length(0)


def test_pairs_weigh_the_same_however_large_their_groups() -> None:
    group = torch.tensor([0, 0, 0, 1, 1])
    facts = rollouts(torch.zeros(5, 2, dtype=torch.long), torch.ones(5, 1, dtype=torch.bool), group=group)
    past = ranked(facts, torch.tensor([0, 1, 2, 0, 1]))
    assert pair_mean(past).tolist() == [0.25] * 5


def test_pairs_need_ranks() -> None:
    with pytest.raises(TypeError, match="ranked"):
        pair_mean(object())  # type: ignore[arg-type]


def test_a_batch_of_nothing_weighs_nothing() -> None:
    none = wanted(rollouts(torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)))
    for reduction in (token_mean, sequence_mean, row_mean, row_total, constant_length(3)):
        assert not reduction(none).any()
