"""The probability of an answer's end is asked for at the end, whatever the mask says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from posttrain.metrics import flat
from posttrain.rollouts.ends import ends
from posttrain.storage.token_rows import TokenRow

STOP = 7


class Known:
    """Gives each token the probability 1 / (1 + its place), and notes which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def evaluate(self, past: Any, wants: Any) -> Any:
        self.asked += past.actions[past.action_mask].tolist()
        place = torch.arange(past.actions.shape[1]) + 2.0
        return SimpleNamespace(logprobs=-place.log().expand(past.actions.shape))


def row(ids: list[int], learned: list[int]) -> TokenRow:
    return TokenRow(ids=ids, mask=[place in learned for place in range(len(ids))])


@pytest.mark.parametrize("learned", [[2, 3], [2]])
def test_an_end_that_no_mask_has_is_asked_for_too(learned: list[int]) -> None:
    model = Known()
    found = flat(ends(model, [row([1, 2, 3, STOP, 9], learned)], {STOP}, 0, 64))  # type: ignore[arg-type]
    assert found == {"ends_heldout": pytest.approx(1 / 4), "ends_heldout_n": 1}
    assert model.asked == [STOP]


def test_the_mean_is_of_probabilities_over_rows_that_end() -> None:
    rows = [
        row([1, 2, STOP], [1, 2]),  # at place 2
        row([1, STOP, 3, 4, 5, STOP], [1, 4, 5]),  # at place 5; the earlier turn's end is another's
        row([1, 2, 3, 4, 5], [3, 4]),  # cut by a limit
        row([1, STOP, 3, 4, 5, STOP], [1, 2]),  # people went on where its last learned token stands
    ]
    found = flat(ends(Known(), rows, {STOP}, 0, 64))  # type: ignore[arg-type]
    assert found["ends_heldout"] == pytest.approx((1 / 3 + 1 / 6) / 2)
    assert found["ends_heldout_n"] == 2


def test_without_ends_nothing_is_known() -> None:
    found = flat(ends(Known(), [row([1, 2, 3], [1, 2])], {STOP}, 0, 64))  # type: ignore[arg-type]
    assert found == {"ends_heldout": "unknown", "ends_heldout_n": 0}
