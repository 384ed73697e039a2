"""What a policy says of held-out comparisons, against hand-made models of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.core.batch import Evaluation
from posttrain.evaluation.heldout_labels import label_accuracy, log_likelihoods
from posttrain.metrics import flat
from posttrain.storage.token_rows import TokenRow


def said(*pairs: tuple[float, float]) -> Tensor:
    """Sums of the chosen and the rejected answer, whose answers have 2 and 4 tokens."""
    rows = [(chosen, chosen / 2, rejected, rejected / 4) for chosen, rejected in pairs]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2)


def test_likelihood_is_by_token_and_the_implicit_reward_by_answer() -> None:
    first = said((-4.0, -4.0), (-4.0, -12.0), (-2.0, -4.0))
    last = said((-2.0, -4.0), (-5.0, -8.0), (-3.0, -8.0))
    found = flat(label_accuracy({"sft": first, "rl": last}, "sft"))
    assert found["label_accuracy/sft"] == pytest.approx((0 + 1 + 0.5) / 3)
    assert found["label_accuracy/rl"] == pytest.approx((0.5 + 0 + 1) / 3)
    # gains: +2 to 0, -1 to +4, -1 to -4
    assert found["implicit_accuracy/rl_vs_sft"] == pytest.approx(2 / 3)
    assert found["label_accuracy_change/rl_vs_sft"] == pytest.approx((0.5 - 1 + 0.5) / 3)
    assert found["implicit_accuracy/rl_vs_sft_n"] == 3
    assert "implicit_accuracy/sft_vs_sft" not in found


def test_nothing_held_out_is_unknown() -> None:
    none = torch.zeros(0, 2, dtype=torch.float64)
    found = flat(label_accuracy({"sft": none, "rl": none}, "sft"))
    assert set(found.values()) == {"unknown"}


def test_likelihoods_are_sums_and_means_over_the_answer_in_the_order_of_rows() -> None:
    class ByToken:
        """Says of each token a hundredth of its id."""

        def evaluate(self, part: Any, wants: Any, against: Any = None) -> Evaluation:
            return Evaluation(logprobs=-part.actions.float() / 100)

    rows = [
        TokenRow(ids=[7, *answer], mask=[False, *[True] * len(answer)], group=place // 2)
        for place, answer in enumerate([[1, 2, 3], [4], [5, 5], [6, 0, 0, 0]])
    ]
    found = log_likelihoods(ByToken(), rows, 0, 4)  # type: ignore[arg-type]
    assert found[:, 0].tolist() == pytest.approx([-0.06, -0.04, -0.1, -0.06])
    assert found[:, 1].tolist() == pytest.approx([-0.02, -0.04, -0.05, -0.015])
