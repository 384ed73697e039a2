"""The cart-pole against Lagrange's equations and against Gymnasium's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posttrain.environments.cartpole import FAR, STEEP, CartPole, Carts, fallen, moved

GRAVITY, CART, POLE, HALF = 9.8, 1.0, 0.1, 0.5


def states(count: int, seed: int = 0) -> np.ndarray:
    """Anywhere it can be, fast and slow, fallen and not."""
    wide = np.array([3.0, 4.0, 0.3, 4.0])
    return np.random.default_rng(seed).uniform(-wide, wide, (count, 4))


def by_lagrange(state: np.ndarray, force: float) -> np.ndarray:
    """Solve the two equations of motion of a cart with a uniform rod, then one step of Euler's method.

    (M + m) x'' + m l cos θ θ'' = F + m l sin θ θ'^2 and cos θ x'' + 4/3 l θ'' = g sin θ.
    """
    _, speed, angle, spin = state
    left = np.array([[CART + POLE, POLE * HALF * np.cos(angle)], [np.cos(angle), 4 / 3 * HALF]])
    right = np.array([force + POLE * HALF * np.sin(angle) * spin**2, GRAVITY * np.sin(angle)])
    rolling, turning = np.linalg.solve(left, right)
    return state + 0.02 * np.array([speed, rolling, spin, turning])


def test_the_dynamics_are_those_of_a_rod_on_a_cart() -> None:
    found = states(1000)
    actions = np.random.default_rng(1).integers(0, 2, 1000)
    want = np.stack([by_lagrange(s, 10.0 if a else -10.0) for s, a in zip(found, actions, strict=True)])
    np.testing.assert_allclose(moved(found, actions), want, rtol=1e-12, atol=1e-12)


def test_the_dynamics_are_gymnasiums() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    game = gymnasium.make("CartPole-v1").unwrapped
    found = states(1000, seed=2)
    carts = Carts(found.copy(), CartPole())
    standing = ~carts.lying
    actions = np.random.default_rng(3).integers(0, 2, 1000)
    ours = carts.step(torch.from_numpy(actions))
    plain = moved(found, actions)
    for row in range(1000):
        game.reset(seed=0)
        game.state, game.steps_beyond_terminated = tuple(found[row]), None
        seen, reward, ended, _, _ = game.step(int(actions[row]))
        np.testing.assert_allclose(plain[row], game.state, atol=1e-6, rtol=0)
        assert bool(fallen(plain[row : row + 1])[0]) == ended
        if standing[row]:
            np.testing.assert_allclose(ours.observation[row], seen, atol=1e-6, rtol=0)
            assert float(ours.reward[row]) == reward
            assert bool(ours.terminated[row]) == ended


def test_it_falls_beyond_its_bounds() -> None:
    edges = np.array(
        [[FAR + 1e-9, 0, 0, 0], [-FAR + 1e-9, 0, 0, 0], [0, 0, -STEEP - 1e-9, 0], [0, 9, STEEP, 9]]
    )
    assert fallen(edges).tolist() == [True, False, True, False]


@pytest.mark.parametrize("absorbing", [False, True])
def test_what_has_fallen_stays_where_it_is_and_earns_nothing(absorbing: bool) -> None:
    copies = CartPole(absorbing=absorbing).open(range(8))
    push = torch.ones(8, dtype=torch.long)
    earned, ended = torch.zeros(8), torch.zeros(8)
    for _ in range(60):
        moved_now = copies.step(push)
        earned, ended = earned + moved_now.reward, ended + moved_now.terminated
    assert bool(((earned > 5) & (earned < 20)).all())  # pushed one way it falls in about ten steps
    assert bool((ended > 0).all()) is not absorbing
    again = copies.step(push)
    assert torch.equal(again.observation, moved_now.observation)
    assert not again.reward.any()


def test_a_start_is_its_seeds_and_close_to_upright() -> None:
    alone, together = CartPole().open([7]), CartPole().open([3, 7, 9])
    assert torch.equal(alone.observation[0], together.observation[1])
    assert float(CartPole().open(range(200)).observation.abs().max()) <= 0.05


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="limit is 0"):
        CartPole(limit=0)
