"""A batch of enough steps is the same plays as the player's, more of them."""

from __future__ import annotations

import torch

from posttrain.core.batch import Wants, take
from posttrain.core.seeds import derive
from posttrain.environments.cartpole import CartPole
from posttrain.models.mlp import MLPPolicy
from posttrain.rollouts.play import Player, play
from posttrain.rollouts.waves import Waves

POLICY = MLPPolicy(4, 2, seed=2)


def test_play_goes_on_until_there_are_enough_steps() -> None:
    player = Player(CartPole(limit=30), POLICY, starts=3, seed=4)
    one = Waves(player, 1)(5)
    assert torch.equal(one.actions, player(5).actions)
    batch = Waves(player, 400)(5)
    lengths = batch.action_mask.sum(1)
    assert len(batch) % 3 == 0
    assert int(lengths.sum()) >= 400 > int(lengths[:-3].sum())
    assert batch.group.tolist() == list(range(len(batch)))
    assert batch.parts["return"].tolist() == lengths.tolist()
    assert len({tuple(start) for start in batch.context["observations"][:, 0].tolist()}) == len(batch)


def test_a_row_is_the_play_of_its_own_seed_whatever_lot_it_came_in() -> None:
    player = Player(CartPole(limit=30), POLICY, starts=3, seed=4)
    batch = Waves(player, 400)(5)
    wants = Wants(values=True)
    read = POLICY.evaluate(batch, wants)
    for row in (0, 4, len(batch) - 1):
        alone = play(CartPole(limit=30), POLICY, [derive(4, "play", 5, row)])
        steps = alone.action_mask.shape[1]
        assert int(batch.action_mask[row].sum()) == steps
        assert torch.equal(batch.actions[row, :steps], alone.actions[0])
        assert torch.equal(batch.rewards[row, :steps], alone.rewards[0])
        seen = batch.context["observations"][row, : steps + 1]
        assert torch.equal(seen, alone.context["observations"][0])
        again = POLICY.evaluate(alone, wants)
        assert again.bootstrap is not None
        assert read.bootstrap is not None
        assert torch.allclose(read.bootstrap[row], again.bootstrap[0], atol=1e-6)
        assert torch.allclose(read.logprobs[row, :steps], again.logprobs[0], atol=1e-6)
    assert len(take(batch, batch.truncated)) == int((batch.action_mask.sum(1) == 30).sum())
