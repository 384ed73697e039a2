"""Rewards in units of their discounted sums."""

from __future__ import annotations

import pytest
import torch

from posttrain.core.batch import Rollouts
from posttrain.environments.cartpole import CartPole
from posttrain.models.mlp import MLPPolicy
from posttrain.rollouts.play import Player
from posttrain.rollouts.scaled import ScaledRewards


def paid_by(amount: float, steps: int) -> Player:
    """Every step is paid alike: a fallen pole is not in the way of so few."""
    player = Player(CartPole(limit=steps), MLPPolicy(4, 2), starts=6)
    original = player.__call__

    class Paid(Player):
        def __call__(self, step: int) -> Rollouts:
            rollouts = original(step)
            return type(rollouts)(**{**vars(rollouts), "rewards": rollouts.rewards * amount})

    return Paid(CartPole(limit=steps), MLPPolicy(4, 2), starts=6)


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("amount", [1.0, -100.0])
def test_the_scale_is_the_deviation_of_discounted_sums(gamma: float, amount: float) -> None:
    """Paid r a step, the sums are r, r (1 + gamma), r (1 + gamma + gamma²), ..."""
    steps = 7
    paying = ScaledRewards(paid_by(amount, steps), gamma)
    rollouts = paying(0)
    sums = torch.tensor([amount * sum(gamma**k for k in range(t + 1)) for t in range(steps)]).double()
    assert bool(rollouts.action_mask.all())
    deviation = max(float(sums.std(correction=0)), 1e-4)
    assert paying.scale == pytest.approx(deviation, rel=1e-6)
    assert paying.last_metrics == {"reward_scale": paying.scale}
    assert rollouts.rewards.flatten().tolist() == pytest.approx([amount / deviation] * (6 * steps), rel=1e-5)
    assert rollouts.parts["return"].tolist() == [steps] * 6  # in the environment's own units


def test_rows_that_end_count_their_chosen_steps_and_batches_add_up() -> None:
    player = Player(CartPole(limit=60), MLPPolicy(4, 2), starts=9)
    paying = ScaledRewards(player, 0.9)
    sums = []
    for step in range(2):
        paying(step)
        for row in player(step).action_mask.sum(1).tolist():
            sums += [(1 - 0.9 ** (t + 1)) / 0.1 for t in range(int(row))]
    assert len({*player(0).action_mask.sum(1).tolist()}) > 3
    assert paying.scale == pytest.approx(float(torch.tensor(sums).double().std(correction=0)), rel=1e-6)
