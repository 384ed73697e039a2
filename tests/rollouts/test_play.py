"""Play in many copies: what a row holds, and that its chances are those of the process."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from posttrain.core.batch import Rollouts, Wants
from posttrain.environments.cartpole import CartPole
from posttrain.environments.tabular import Table, Walks, policy_values
from posttrain.environments.thermostat import Thermostat
from posttrain.models.mlp import MLPPolicy
from posttrain.rollouts.play import Player, paid_at_the_end, play


class Small:
    """Three states and an end, two actions; nothing symmetric."""

    observations, actions, decision = 3, 2, 1

    def __init__(self, limit: int = 400) -> None:
        self.limit = limit
        transitions = torch.tensor(
            [
                [[0.1, 0.7, 0.1], [0.3, 0.0, 0.6]],
                [[0.2, 0.2, 0.3], [0.0, 0.9, 0.1]],
                [[0.5, 0.0, 0.1], [0.0, 0.1, 0.8]],
            ],
            dtype=torch.float64,
        )
        rewards = torch.tensor([[1.0, -0.5], [0.2, 0.7], [-1.0, 0.4]], dtype=torch.float64)
        self.table = Table(transitions, rewards, torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64))

    def open(self, seeds):  # type: ignore[no-untyped-def]
        return Walks(self.table, seeds, self.limit)


def decided(seed: int = 3) -> MLPPolicy:
    """A table of logits that prefers something."""
    actor = MLPPolicy(3, 2, hidden=())
    with torch.no_grad():
        actor.policy[0].weight.copy_(torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)))
    return actor


ROWS = 20_000


@cache
def played(temperature: float) -> Rollouts:
    """What ``decided()`` does in the small world."""
    return play(Small(), decided(), range(ROWS), temperature=temperature)


def discounted(facts: Rollouts, gamma: float) -> torch.Tensor:
    times = torch.arange(facts.rewards.shape[1], dtype=torch.float64)
    return (facts.rewards.double() * gamma**times).sum(1)


@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_sampled_return_is_the_enumerated_one(gamma: float, temperature: float) -> None:
    world, actor, facts = Small(), decided(), played(temperature)
    with torch.no_grad():
        policy = (actor.logits(torch.eye(3)) / temperature).softmax(-1)
    want = float(world.table.start @ policy_values(world.table, policy, gamma))
    got = discounted(facts, gamma)
    assert not facts.truncated.any()
    assert abs(float(got.mean()) - want) < 3 * float(got.std()) / ROWS**0.5


def test_another_policys_return_is_told_apart() -> None:
    """The test above can fail."""
    world = Small()
    got = discounted(played(1.0), 0.9)
    with torch.no_grad():
        other = decided(seed=4).logits(torch.eye(3)).softmax(-1)
    wrong = float(world.table.start @ policy_values(world.table, other, 0.9))
    assert abs(float(got.mean()) - wrong) > 3 * float(got.std()) / ROWS**0.5


def test_trainer_and_player_agree() -> None:
    actor = MLPPolicy(4, 2, seed=1)
    facts = play(CartPole(limit=60), actor, range(12), temperature=0.7)
    with torch.no_grad():
        now = actor.evaluate(facts, Wants())
    mask = facts.action_mask
    assert float((now.logprobs - facts.logprobs)[mask].abs().max()) < 1e-6
    assert bool(facts.logprobs[~mask].isnan().all())
    assert facts.rewards.sum(1).tolist() == mask.sum(1).tolist() == facts.parts["return"].tolist()
    assert facts.turn[0].tolist() == list(range(mask.shape[1]))


def test_a_row_that_fell_is_over_and_one_that_stood_was_cut() -> None:
    facts = play(CartPole(limit=15), MLPPolicy(4, 2), range(60))
    assert facts.truncated.any()
    assert not facts.truncated.all()
    last = facts.context["observations"][torch.arange(60), facts.action_mask.sum(1)]
    fell = (last[:, 0].abs() > 2.4) | (last[:, 2].abs() > 12 * 3.14159265 / 180)
    assert torch.equal(fell, ~facts.truncated)


def test_fixed_length_play_shows_no_end() -> None:
    facts = play(CartPole(limit=120, absorbing=True), MLPPolicy(4, 2), range(8))
    assert bool(facts.action_mask.all())
    assert bool(facts.truncated.all())
    assert float(facts.parts["return"].max()) < 120
    assert not facts.rewards[:, -1].any()


def test_a_row_does_not_depend_on_its_batch() -> None:
    actor = decided()
    alone, together = (play(Small(), actor, seeds) for seeds in ([5], [4, 5, 6]))
    length = int(alone.action_mask.sum())
    assert torch.equal(alone.actions[0, :length], together.actions[1, :length])
    assert int(together.action_mask[1].sum()) == length


def test_rows_of_a_group_begin_alike_and_go_on_differently() -> None:
    facts = Player(CartPole(limit=30), MLPPolicy(4, 2), starts=3, group_size=4, seed=2)(0)
    begun = facts.context["observations"][:, 0]
    assert facts.group.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(begun.unique(dim=0)) == 3
    assert len(facts.actions.unique(dim=0)) > 3


def test_a_step_is_a_function_of_seed_step_and_weights() -> None:
    actor = MLPPolicy(4, 2)
    first, again = (Player(CartPole(limit=20), actor, starts=4, seed=1) for _ in range(2))
    again.publish(7)
    assert torch.equal(first(3).actions, again(3).actions)
    assert again(3).version.tolist() == [7] * 4
    assert not torch.equal(first(3).context["observations"], first(4).context["observations"])


def test_the_likeliest_action_leaves_nothing_to_chance() -> None:
    actor = decided()
    facts = play(
        Thermostat(coldest=19, warmest=21, limit=5),
        MLPPolicy(3, 3, hidden=(), seed=1),
        range(6),
        temperature=0,
    )
    assert not facts.logprobs[facts.action_mask].any()
    greedy = play(Small(limit=3), actor, range(50), temperature=0)
    best = actor.logits(greedy.context["observations"][:, :-1]).argmax(-1)
    assert torch.equal(best[greedy.action_mask], greedy.actions[greedy.action_mask])


def test_no_chance_comes_back() -> None:
    """Where nothing but chance decides, rows and steps differ in what is done, from the same states."""
    world = Thermostat(coldest=19, warmest=20, limit=30)
    player = Player(world, MLPPolicy(2, 3, hidden=()), starts=1, group_size=4)
    rows = torch.cat([player(step).actions for step in range(3)])
    assert len(rows.unique(dim=0)) == 12


@pytest.mark.parametrize("wrong", [{"starts": 0}, {"group_size": 0}, {"temperature": 0.0}])
def test_settings_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        Player(CartPole(), MLPPolicy(4, 2), **({"starts": 1} | wrong))  # type: ignore[arg-type]


def test_a_sum_is_paid_where_each_row_ends() -> None:
    facts = play(CartPole(limit=15), MLPPolicy(4, 2), range(40))
    paid = paid_at_the_end(facts)
    length = facts.action_mask.sum(1)
    assert len(length.unique()) > 1
    for row, steps in enumerate(length.tolist()):
        assert paid.rewards[row].nonzero()[:, 0].tolist() == [steps - 1]
        assert float(paid.rewards[row, steps - 1]) == float(facts.rewards[row].sum()) == steps
