from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Evaluation
from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.a2c import A2C
from tests.policy_gradients.scene import PAID, STEPS, Scene, agree, facts, noise


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (0.9, 0.6), (1.0, 0.0)])
def test_its_formula(gamma: float, lam: float) -> None:
    scene = Scene(more={"values": noise(5, 0.4)})
    values, away = scene.more["values"], scene.before - scene.reference
    want = torch.zeros(())
    for row, steps in enumerate(STEPS):
        paid = [(PAID[row] if t == steps[-1] else 0.0) - 0.2 * float(away[row, t]) for t in steps]
        v = [float(values[row, t]) for t in steps]
        errors = [r + gamma * after - own for r, own, after in zip(paid, v, [*v[1:], 0.0], strict=True)]
        for k, t in enumerate(steps):
            advantage = sum((gamma * lam) ** (u - k) * errors[u] for u in range(k, len(steps)))
            want = want - advantage * scene.now[row, t] / 14 + 0.5 * advantage**2 / 2 / 14
    agree(scene, A2C(gamma=gamma, gae_lambda=lam, kl=KLInReward(coef=0.2)), want)


def test_the_critic_learns_the_returns() -> None:
    scene = Scene(more={"values": noise(5, 0.4).requires_grad_()})
    method = A2C(vf_coef=1.0)
    past = scene.experience(method)
    now = Evaluation(logprobs=scene.now, values=scene.more["values"])
    term = method.loss(now, past)["value_loss"]
    (term.reduction(past) * term.values).sum().backward()
    gradient = scene.more["values"].grad
    assert gradient is not None
    assert past.returns is not None
    mask = past.rollouts.action_mask
    torch.testing.assert_close(gradient[mask], ((now.values - past.returns) / 14)[mask].detach())  # type: ignore[operator]


def test_a_row_that_a_limit_stopped_goes_on_where_it_is_asked_to() -> None:
    cut = facts(truncated=torch.tensor([True, False, False, False, False]))
    more = {"values": noise(5, 0.4), "bootstrap": torch.full((5,), 100.0, dtype=torch.float64)}
    alone = Scene(facts=cut, more=more).experience(A2C()).returns
    going_on = Scene(facts=cut, more=more).experience(A2C(bootstrap_truncated=True)).returns
    assert alone is not None
    assert going_on is not None
    assert bool((going_on - alone)[0, STEPS[0]].eq(100).all())
    assert torch.equal(going_on[1:], alone[1:])


def test_it_needs_a_critic() -> None:
    assert A2C().wants.values
    with pytest.raises(ValueError, match="critic"):
        Scene().experience(A2C())
    past = Scene(more={"values": noise(5)}).experience(A2C())
    with pytest.raises(ValueError, match="critic"):
        A2C().loss(Evaluation(logprobs=noise(1)), replace(past))


@pytest.mark.parametrize("wrong", [{"gae_lambda": 1.1}, {"vf_coef": -1.0}, {"entropy_coef": float("inf")}])
def test_settings_without_meaning_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        A2C(**wrong)  # type: ignore[arg-type]
