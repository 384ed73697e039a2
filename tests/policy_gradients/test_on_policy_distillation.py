from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Evaluation, Wants
from posttrain.core.kl import KLExact, KLInReward
from posttrain.policy_gradients.on_policy_distillation import OnPolicyDistillation
from tests.oracle.world import everything, expected_loss, gradient_of, kl_now
from tests.policy_gradients.scene import PAID, STEPS, Scene, agree
from tests.tiny import TinyPolicy

FACTS = everything()
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.mark.parametrize(("gamma", "reward"), [(0.0, 0.0), (1.0, 0.0), (0.5, 2.0)])
def test_its_formula(gamma: float, reward: float) -> None:
    scene = Scene()
    teacher = scene.reference - scene.before
    want = torch.zeros(())
    for row, steps in enumerate(STEPS):
        for k, t in enumerate(steps):
            worth = sum(gamma ** (u - k) * float(teacher[row, steps[u]]) for u in range(k, len(steps)))
            want = want - (worth + reward * PAID[row]) * scene.now[row, t] / 14
    agree(scene, OnPolicyDistillation(gamma=gamma, reward_coef=reward), want)


@pytest.mark.parametrize("kl", [KLInReward(coef=1.0), KLExact(coef=1.0)])
def test_undiscounted_it_has_the_gradient_of_the_kl_of_whole_answers(kl: KLInReward | KLExact) -> None:
    student, teacher = TinyPolicy(3, seed=1), TinyPolicy(3, seed=2)
    got = gradient_of(expected_loss(OnPolicyDistillation(gamma=1.0, kl=kl), student, teacher, FACTS), student)
    torch.testing.assert_close(got, gradient_of(kl_now(student, teacher, FACTS), student), **CLOSE)


def test_discounted_to_nothing_exact_and_sampled_agree_and_are_another_gradient() -> None:
    student, teacher = TinyPolicy(3, seed=1), TinyPolicy(3, seed=2)
    exact, sampled = (
        gradient_of(expected_loss(OnPolicyDistillation(kl=kl), student, teacher, FACTS), student)
        for kl in (KLExact(coef=1.0), KLInReward(coef=1.0))
    )
    torch.testing.assert_close(exact, sampled, **CLOSE)
    assert (exact - gradient_of(kl_now(student, teacher, FACTS), student)).norm() > 1e-3


def test_it_ends_at_the_teacher() -> None:
    student, teacher = TinyPolicy(3, seed=1), TinyPolicy(3, seed=2)
    optimizer = torch.optim.Adam(student.policy_parameters(), lr=0.03)
    first = kl_now(student, teacher, FACTS).item()
    for _ in range(250):
        optimizer.zero_grad()
        expected_loss(OnPolicyDistillation(), student, teacher, FACTS).backward()
        optimizer.step()
    assert kl_now(student, teacher, FACTS).item() < 1e-3 < 0.1 < first


def test_what_the_environment_pays_counts_only_where_asked() -> None:
    student = TinyPolicy(3, seed=1)
    with torch.no_grad():
        same = student.evaluate(FACTS, Wants())
    paid = OnPolicyDistillation(reward_coef=1.0).credit(FACTS, same, same).advantages
    free = OnPolicyDistillation().credit(FACTS, same, same).advantages
    assert not free.any()
    assert paid.any()


def test_settings_without_meaning_are_named() -> None:
    for wrong in ({"gamma": 2.0}, {"reward_coef": -1.0}, {"kl": KLInReward(coef=0.0)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OnPolicyDistillation(**wrong)  # type: ignore[arg-type]


def test_it_wants_a_teacher() -> None:
    assert OnPolicyDistillation().wants.teacher
    alone = Evaluation(logprobs=replace(FACTS).logprobs)
    with pytest.raises(ValueError, match="reference"):
        OnPolicyDistillation().credit(FACTS, alone, None)
