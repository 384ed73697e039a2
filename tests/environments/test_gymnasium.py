"""The adapter plays what Gymnasium plays."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest
import torch

from posttrain.core.kl import KLInReward
from posttrain.environments.cartpole import CartPole
from posttrain.environments.gymnasium import Gymnasium
from posttrain.models.mlp import MLPPolicy
from posttrain.pipeline.finding import UserError
from posttrain.policy_gradients.ppo import PPO
from posttrain.rollouts.play import play

gymnasium: Any = pytest.importorskip("gymnasium")


def test_its_shape_is_read_from_the_spaces() -> None:
    pole, lake = Gymnasium(id="CartPole-v1"), Gymnasium(id="FrozenLake-v1", steps=30)
    assert (pole.observations, pole.actions, pole.limit) == (4, 2, 500)
    assert (lake.observations, lake.actions, lake.limit) == (16, 4, 30)
    assert (pole.one_hot, lake.one_hot) == (False, True)


def test_a_row_is_what_the_environment_said() -> None:
    actor = MLPPolicy(4, 2)
    facts = play(Gymnasium(id="CartPole-v1"), actor, [1, 2, 3])
    game = gymnasium.make("CartPole-v1")
    copies = Gymnasium(id="CartPole-v1").open([11])
    seen, _ = game.reset(seed=11)
    assert copies.observation[0].tolist() == seen.tolist()
    for action in facts.actions[0][facts.action_mask[0]].tolist():
        seen, reward, ended, _, _ = game.step(action)
        moved = copies.step(torch.tensor([action]))
        assert moved.observation[0].tolist() == seen.tolist()
        assert float(moved.reward) == reward
        assert bool(moved.terminated) == ended
        if ended:
            break


@pytest.mark.parametrize("id", ["Acrobot-v1", "Taxi-v4"])
def test_what_was_played_before_is_begun_anew(id: str) -> None:
    """Making an environment may cost more than a play of it, so they are made once; no row tells."""
    world = Gymnasium(id=id, steps=30)
    actor = MLPPolicy(world.observations, world.actions, (), 3)
    made, make = [], gymnasium.make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gymnasium, "make", lambda *a, **k: made.append(a) or make(*a, **k))
        first = play(world, actor, [1, 2, 3])
        play(world, actor, [4, 5])
        again = play(world, actor, [3, 1])
        assert len(made) <= 3 + 1  # and one for the spaces
    for row, then in enumerate((2, 0)):
        assert again.actions[row].tolist() == first.actions[then].tolist()
        assert torch.equal(again.context["observations"][row], first.context["observations"][then])
    one, two = world.open([1]), world.open([1])  # those in play are not lent again
    assert torch.equal(one.step(torch.tensor([0])).observation, two.step(torch.tensor([0])).observation)


def test_it_is_the_cart_pole_of_ours() -> None:
    """The same policy lasts about as long in both."""
    actor = MLPPolicy(4, 2)
    theirs = play(Gymnasium(id="CartPole-v1"), actor, range(40)).parts["return"]
    ours = play(CartPole(), actor, range(400)).parts["return"]
    apart = float((theirs.mean() - ours.mean()).abs())
    assert apart < 3.5 * float((theirs.var() / 40 + ours.var() / 400).sqrt())


def test_a_limit_of_the_environments_own_is_a_cut_not_an_end() -> None:
    class Brief(gymnasium.Env):  # type: ignore[misc]
        observation_space = gymnasium.spaces.Discrete(3, start=1)
        action_space = gymnasium.spaces.Discrete(2, start=5)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.time = 0
            return 1, {}

        def step(self, action: int) -> Any:
            assert action in (5, 6)
            self.time += 1
            return min(self.time + 1, 3), 1.0, False, self.time == 4, {}

    if "Brief-v0" not in gymnasium.registry:
        gymnasium.register("Brief-v0", entry_point=Brief)
    facts = play(Gymnasium(id="Brief-v0", steps=9), MLPPolicy(3, 2), [0, 1])
    assert facts.action_mask.sum(1).tolist() == [4, 4]
    assert facts.truncated.tolist() == [True, True]
    assert facts.context["observations"][0].argmax(-1).tolist() == [0, 1, 2, 2, 2]
    with pytest.raises(UserError, match=r"limit=1000"):
        _ = Gymnasium(id="Brief-v0").limit


@pytest.mark.parametrize(
    ("name", "message"), [("Nothing-v0", "doesn't exist"), ("Pendulum-v1", "expected Discrete actions")]
)
def test_what_cannot_be_played_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _ = Gymnasium(id=name).actions


@pytest.mark.parametrize("bootstrapped", [True, False])
def test_play_cut_by_a_limit_is_worth_what_the_endless_play_is(bootstrapped: bool) -> None:
    """Paid 1 a step for ever, every state is worth 1 / (1 - gamma): a critic that says so sees no advantage
    anywhere in play that was cut, and without a bootstrap every step looks the worse the later it is."""

    class Salary(gymnasium.Env):  # type: ignore[misc]
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.zeros(2, np.float32), {}

        def step(self, action: int) -> Any:
            return np.zeros(2, np.float32), 1.0, False, False, {}

    if "Salary-v0" not in gymnasium.registry:
        gymnasium.register("Salary-v0", entry_point=Salary, max_episode_steps=6)
    gamma, actor = 0.9, MLPPolicy(2, 2, hidden=())
    with torch.no_grad():
        actor.critic[0].bias.fill_(1 / (1 - gamma))  # type: ignore[operator]
    rollouts = play(Gymnasium(id="Salary-v0"), actor, [0, 1])
    assert rollouts.truncated.tolist() == [True, True]
    method = PPO(
        gamma=gamma,
        gae_lambda=1.0,
        whiten=False,
        bootstrap_truncated=bootstrapped,
        kl=KLInReward(coef=0.0),
    )
    past = method.credit(rollouts, actor.evaluate(rollouts, method.wants), None)
    missing = [0.0 if bootstrapped else gamma ** (6 - t) / (1 - gamma) for t in range(6)]
    assert past.returns is not None
    for row in range(2):
        assert (-past.advantages[row]).tolist() == pytest.approx(missing, abs=1e-4)
        assert past.returns[row].tolist() == pytest.approx([1 / (1 - gamma) - m for m in missing], abs=1e-4)


def test_lunar_lander_is_played_without_what_would_draw_it() -> None:
    """Its physics is one extra; pygame is in none."""
    if importlib.util.find_spec("Box2D") is None:
        with pytest.raises(UserError, match=r"posttrain\[box2d\]"):
            _ = Gymnasium(id="LunarLander-v3").actions
        return
    rollouts = play(Gymnasium(id="LunarLander-v3"), MLPPolicy(8, 4), [0, 1])
    if importlib.util.find_spec("pygame") is None:
        assert "pygame" not in sys.modules
    assert rollouts.context["observations"].shape[-1] == 8
    assert rollouts.action_mask.sum(1).tolist() != [1000, 1000]
