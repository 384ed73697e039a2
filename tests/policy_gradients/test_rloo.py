from __future__ import annotations

import torch

from posttrain.core.kl import KLInLoss, KLInReward, k3
from posttrain.policy_gradients.rloo import RLOO
from tests.policy_gradients.scene import STEPS, Scene, agree, facts, k3_of, others, totals


def test_its_formula() -> None:
    scene = Scene()
    worth, want = totals(scene, 0.3), torch.zeros(())
    for row, steps in enumerate(STEPS):
        advantage = worth[row] - sum(worth[j] for j in others(row)) / len(others(row))
        want = want - advantage * sum(scene.now[row, t] for t in steps) / 5
    agree(scene, RLOO(kl=KLInReward(coef=0.3)), want)


def test_kl_in_the_loss_is_reduced_like_the_gain() -> None:
    scene = Scene()
    worth, want = totals(scene), torch.zeros(())
    for row, steps in enumerate(STEPS):
        advantage = worth[row] - sum(worth[j] for j in others(row)) / len(others(row))
        for t in steps:
            want = want + (0.3 * k3_of(scene, row, t) - advantage * scene.now[row, t]) / 5
    agree(scene, RLOO(kl=KLInLoss(coef=0.3, estimator=k3)), want)


def test_equal_answers_teach_nothing() -> None:
    same = facts()
    same.rewards.masked_fill_(same.action_mask, 0.1)
    same.rewards[torch.arange(5), [steps[-1] for steps in STEPS]] = torch.tensor(
        [3.0 - 0.1 * (len(steps) - 1) for steps in STEPS], dtype=torch.float64
    )
    advantages = Scene(facts=same).experience(RLOO(kl=KLInReward(coef=0.0))).advantages
    assert advantages.abs().max() < 1e-14


def test_the_trainer_reads_only_what_it_must() -> None:
    assert not RLOO().wants.before
    assert not RLOO().wants.values
    assert RLOO().wants.group
