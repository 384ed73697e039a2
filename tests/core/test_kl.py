from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from posttrain.core.batch import Evaluation, Experience
from posttrain.core.kl import (
    Estimator,
    KLExact,
    KLInLoss,
    KLInReward,
    best_of_n,
    exact,
    k1,
    k2,
    k3,
    label,
)
from posttrain.core.reduction import row_total, token_mean
from tests.tiny import rollouts

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
Q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64).log()
KL_PQ = 0.5 * math.log(0.5 / 0.2) + 0.3 * math.log(0.3 / 0.2) + 0.2 * math.log(0.2 / 0.6)
MASK = torch.tensor([[False, True, True, False, True]])


def test_exact_kl_of_logits() -> None:
    assert exact(P + 3, Q - 1).item() == pytest.approx(KL_PQ, rel=1e-12)
    assert exact(P, P).item() == 0


@pytest.mark.parametrize("estimator", [k1, k3])
def test_k1_and_k3_are_unbiased(estimator) -> None:  # type: ignore[no-untyped-def]
    assert (P.exp() * estimator(P, Q)).sum().item() == pytest.approx(KL_PQ, rel=1e-12)


def test_k2_and_k3_are_never_negative_and_all_are_zero_at_home() -> None:
    for estimator in (k2, k3):
        assert (estimator(P, Q) > 0).all()
    for estimator in (k1, k2, k3):
        assert not estimator(P, P).any()


def test_gradients_of_the_estimators_as_losses() -> None:
    """On samples of p: k1 has none, k2 that of KL(p || q), k3 that of KL(q || p)."""
    logits = P.clone().requires_grad_()
    log_p = logits.log_softmax(-1)
    weight = log_p.exp().detach()

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, logits, retain_graph=True)[0]

    kl, opposite = gradient(exact(logits, Q)), gradient(exact(Q, logits))
    torch.testing.assert_close(gradient((weight * k1(log_p, Q)).sum()), torch.zeros_like(kl))
    torch.testing.assert_close(gradient((weight * k2(log_p, Q)).sum()), kl)
    torch.testing.assert_close(gradient((weight * k3(log_p, Q)).sum()), opposite)


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_best_of_n_against_enumeration(n: int) -> None:
    """A uniform base over many answers without ties: the winner's distribution is known."""
    many = 20_000
    rank = torch.arange(1, many + 1, dtype=torch.float64) / many
    p = rank**n - (rank - 1 / many) ** n
    kl = (p * (p * many).clamp(min=1e-300).log()).sum().item()
    assert best_of_n(n) == pytest.approx(kl, abs=2e-3)
    assert best_of_n(1) == 0


def test_best_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        best_of_n(0)


def thought(values: list[float], kl: list[float] | None = None) -> Evaluation:
    def full(said: list[float]) -> torch.Tensor:
        return torch.full((1, 5), float("nan")).masked_scatter(MASK, torch.tensor(said, dtype=torch.float32))

    return Evaluation(logprobs=full(values), kl=None if kl is None else full(kl))


def test_drift_costs() -> None:
    """The sign: what the policy likes more than the reference is charged, not paid."""
    rewards = KLInReward(coef=0.5).charge(
        torch.zeros(1, 5), thought([-1, -1, -1]), thought([-3, -1, 0]), MASK
    )
    assert rewards.tolist() == [[0, -1.0, 0, 0, 0.5]]


def test_exact_kl_is_paid_by_the_step_before() -> None:
    now = thought([-1, -1, -1], [7, 2, 4])
    rewards = KLExact(coef=0.5).charge(torch.ones(1, 5), now, None, MASK)
    assert rewards.tolist() == [[0, 0, -1, 0, 1]]


def test_in_the_loss_the_rewards_stay() -> None:
    rewards = torch.full((1, 5), float("nan")).masked_fill(MASK, 2.0)
    charged = KLInLoss().charge(rewards, thought([-1, -1, -1]), thought([-3, -1, 0]), MASK)
    assert charged.tolist() == [[0, 2, 2, 0, 2]]


def test_a_reference_is_needed_only_where_it_costs() -> None:
    rewards, now = torch.zeros(1, 5), thought([-1, -1, -1])
    for kl in (KLInReward(), KLExact()):
        with pytest.raises(ValueError, match="reference"):
            kl.charge(rewards, now, None, MASK)
    for free in (KLInReward(coef=0), KLExact(coef=0)):
        assert not free.charge(rewards, now, None, MASK).any()


@pytest.mark.parametrize("coef", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [KLInReward, KLInLoss, KLExact])
def test_a_price_that_would_pay_for_drift_is_refused(kind: type, coef: float) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}.coef is {coef}"):
        kind(coef=coef)


@dataclass
class Charging:
    """As much of a method as a label reads."""

    kl: object
    gamma: float = 1.0
    std: bool = False


@pytest.mark.parametrize(
    ("kl", "said"),
    [
        (KLInReward(coef=0.1), "KLInReward(k1, coef=0.1): gradient is that of KL(policy||reference)"),
        (KLExact(coef=2.0), "KLExact(coef=2): gradient is that of KL(policy||reference)"),
        (
            KLInLoss(coef=0.1),
            "KLInLoss(k2, coef=0.1): gradient is that of each step's KL(policy||reference),",
        ),
        (KLInLoss(estimator=k3), "gradient is that of each step's KL(reference||policy),"),
        (KLInLoss(estimator=k1), "no gradient on average"),
        (KLInReward(estimator=k3), "less that of each step's KL(reference||policy)"),
        (KLInReward(coef=0.0), "measured, not charged"),
    ],
)
def test_a_run_can_say_whose_gradient_its_kl_has(kl: object, said: str) -> None:
    assert said in label(Charging(kl))
    assert label(Charging(kl)).startswith("kl: ")


def test_a_label_says_what_the_method_does_to_it() -> None:
    assert "gamma=0.5" in label(Charging(KLInReward(), gamma=0.5))
    assert "standard deviation" in label(Charging(KLInLoss(), std=True))
    assert "standard deviation" not in label(Charging(KLInReward(), std=True))
    assert label(object()) == ""


def gradient_in_the_loss(estimator: Estimator) -> torch.Tensor:
    logits = P.clone().requires_grad_()
    p = logits.log_softmax(-1)
    return torch.autograd.grad((p.exp().detach() * estimator(p, Q)).sum(), logits)[0]


def gradient_in_the_reward(estimator: Estimator) -> torch.Tensor:
    logits = P.clone().requires_grad_()
    p = logits.log_softmax(-1)
    return torch.autograd.grad((p.exp() * estimator(p, Q).detach()).sum(), logits)[0]


def test_the_labels_are_true() -> None:
    """One step of three tokens: the gradients that the labels name, summed over all of them."""
    logits = P.clone().requires_grad_()
    p = logits.log_softmax(-1)
    forward = torch.autograd.grad((p.exp() * (p - Q)).sum(), logits, retain_graph=True)[0]
    backward = torch.autograd.grad((Q.exp() * (Q - p)).sum(), logits, retain_graph=True)[0]
    mean_k2 = torch.autograd.grad((p.exp() * (p - Q).square() / 2).sum(), logits)[0]
    pairs = [
        (gradient_in_the_reward(k1), forward),
        (gradient_in_the_reward(k2), mean_k2 - forward),
        (gradient_in_the_reward(k3), forward - backward),
        (gradient_in_the_loss(k1), torch.zeros(3, dtype=torch.float64)),
        (gradient_in_the_loss(k2), forward),
        (gradient_in_the_loss(k3), backward),
    ]
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_a_kl_in_the_loss_is_reduced_as_it_is_told() -> None:
    past = experience()
    now = Evaluation(logprobs=torch.full((1, 5), -2.0), kl=torch.ones(1, 5))
    for kl in (KLInLoss(), KLExact()):
        assert kl.terms(now, past, row_total)["kl_loss"].reduction is row_total
        assert kl.terms(now, past)["kl_loss"].reduction is token_mean
    assert KLInReward().terms(now, past, row_total) == {}


def experience() -> Experience:
    said = Evaluation(logprobs=torch.full((1, 5), -1.0))
    facts = rollouts(torch.zeros(1, 6, dtype=torch.long), MASK)
    return Experience(rollouts=facts, before=said, reference=said, advantages=MASK * 1.0, weights=MASK * 1.0)
