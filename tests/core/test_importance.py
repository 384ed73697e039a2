from __future__ import annotations

import math

import pytest
import torch

from posttrain.core.batch import Evaluation
from posttrain.core.importance import (
    Masked,
    Truncated,
    clipped_gain,
    effective_sample_size,
    measured,
    outside,
    ratio,
    sequence_ratio,
    step_weights,
)
from tests.tiny import rollouts

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


def test_steps_weigh_one_without_a_correction() -> None:
    facts = rollouts(torch.zeros(1, 6, dtype=torch.long), MASK, logprobs=SAMPLER)
    before = Evaluation(logprobs=TRAINER)
    assert torch.equal(step_weights(None, before, facts), MASK.float())
    weights = step_weights(Truncated(cap=2.0), before, facts)
    torch.testing.assert_close(weights, torch.tensor([[0, 1, 2, 0.25, 1]]))


@pytest.mark.parametrize("wrong", [{"cap": 0.0}, {"cap": NAN}])
def test_a_cap_of_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cap"):
        Truncated(**wrong)


@pytest.mark.parametrize("wrong", [{"low": 1.1}, {"high": 0.9}, {"low": -0.1}, {"high": NAN}])
def test_bounds_that_drop_what_agrees_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"low=.*high="):
        Masked(**wrong)


def test_a_ratio_is_one_outside_and_finite_everywhere() -> None:
    now = torch.tensor([[NAN, -1.0, 0.0, -5.0, 500.0]], requires_grad=True)
    before = torch.tensor([[NAN, -1.0, -math.log(2), -1000.0, -500.0]])
    found = ratio(now, before, MASK)
    assert found[0, :3].tolist() == pytest.approx([1.0, 1.0, 2.0])
    assert found.isfinite().all()
    found.sum().backward()
    assert now.grad is not None
    assert now.grad.isfinite().all()
    assert now.grad[0, 0] == 0


def test_a_sequence_ratio_is_the_geometric_mean_with_each_steps_own_gradient() -> None:
    now = torch.tensor([[NAN, -1.0, 0.0, -2.0, -1.0]], requires_grad=True)
    before = torch.tensor([[NAN, -1.0, -2.0, -1.0, -1.0]])
    found = sequence_ratio(now, before, MASK)
    s = math.exp(1 / 4)
    torch.testing.assert_close(found[MASK], torch.full((4,), s))
    (gradient,) = torch.autograd.grad(found[0, 2], now)
    torch.testing.assert_close(gradient, torch.tensor([[0, 0, s, 0, 0]]))


def test_a_clipped_gain_by_hand() -> None:
    r = torch.tensor([0.5, 0.9, 1.5, 0.5, 1.5])
    a = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])
    torch.testing.assert_close(clipped_gain(r, a, 0.2, 0.3), torch.tensor([0.5, 0.9, 1.3, -0.8, -1.5]))
    assert outside(r, 0.2, 0.6).values.tolist() == [1, 0, 0, 1, 0]


def test_what_an_update_reports_has_no_weight_in_the_loss() -> None:
    from posttrain.core.batch import Experience

    facts = rollouts(torch.zeros(1, 6, dtype=torch.long), MASK)
    before = Evaluation(logprobs=torch.full((1, 5), -1.0))
    past = Experience(rollouts=facts, before=before, advantages=MASK * 1.0, weights=MASK * 1.0)
    now = Evaluation(logprobs=torch.full((1, 5), -0.5, requires_grad=True), entropy=torch.ones(1, 5))
    terms = measured(now, past, ratio(now.logprobs, before.logprobs, MASK))
    assert terms.keys() == {"entropy", "approx_kl", "ratio_max"}
    assert not any(term.coef or term.values.requires_grad for term in terms.values())
    assert terms["ratio_max"].values[MASK].tolist() == pytest.approx([math.exp(0.5)] * 4)
    assert measured(now, past).keys() == {"entropy"}
