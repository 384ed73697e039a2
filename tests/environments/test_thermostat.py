"""The thermostat and what can be computed of a table: by iteration, by a linear system, by enumeration."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Evaluation, Rollouts
from posttrain.core.kl import KLInReward
from posttrain.environments.tabular import (
    Table,
    action_values,
    policy_values,
    reward_process,
    value_iteration,
)
from posttrain.environments.thermostat import Thermostat
from posttrain.policy_gradients.ppo import PPO

GAMMA = 0.95
ROOM = Thermostat()


def some_policy(states: int, actions: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(states, actions, generator=generator, dtype=torch.float64).softmax(-1)


def test_its_transitions_are_probabilities_and_it_never_ends() -> None:
    table = ROOM.table()
    torch.testing.assert_close(table.transitions.sum(-1), torch.ones_like(table.rewards))
    assert table.rewards.shape == (15, 3)
    hot = table.transitions[10, :, 11]
    assert hot.tolist() == pytest.approx([0.0, 0.5, 0.9])


def test_values_of_a_continuing_process_are_the_sum_of_what_it_earns() -> None:
    """(I - gamma P)^-1 r against the sum of gamma^t P^t r, term by term."""
    table, policy = ROOM.table(), some_policy(15, 3)
    process, rewards = reward_process(table, policy)
    sure, total = torch.eye(15, dtype=torch.float64), torch.zeros(15, dtype=torch.float64)
    for _ in range(900):
        total, sure = total + sure @ rewards, GAMMA * sure @ process
    torch.testing.assert_close(policy_values(table, policy, GAMMA), total, rtol=0, atol=1e-9)


def paths(steps: int, start: int, degrees: int) -> tuple[Rollouts, torch.Tensor, torch.Tensor, Thermostat]:
    """Every play of ``steps`` steps from a state as a cut row, its probability, and the states on the way."""
    room = Thermostat(coldest=18, warmest=18 + degrees - 1, wanted=19)
    table, policy = room.table(), some_policy(degrees, 3, seed=1)
    rows, chances = [], []
    for moves in itertools.product(range(3), range(degrees), repeat=steps):
        states, actions = [start, *moves[1::2]], moves[::2]
        chance = 1.0
        for t, action in enumerate(actions):
            chance *= float(policy[states[t], action] * table.transitions[states[t], action, states[t + 1]])
        if chance > 0:
            rows.append((states, actions))
            chances.append(chance)
    states_of = torch.tensor([states for states, _ in rows])
    done = torch.tensor([actions for _, actions in rows])
    count = len(rows)
    facts = Rollouts(
        context={"observations": torch.eye(degrees)[states_of]},
        actions=done,
        action_mask=torch.ones(count, steps, dtype=torch.bool),
        turn=torch.arange(steps).expand(count, -1),
        logprobs=torch.zeros(count, steps),
        rewards=table.rewards[states_of[:, :-1], done],
        truncated=torch.ones(count, dtype=torch.bool),
        group=torch.arange(count),
        temperature=torch.ones(count),
        version=torch.zeros(count, dtype=torch.long),
    )
    return facts, torch.tensor(chances, dtype=torch.float64), states_of, room


@pytest.mark.parametrize("lam", [0.0, 0.9, 1.0])
def test_cut_play_with_a_bootstrap_is_worth_what_the_endless_process_is(lam: float) -> None:
    """Over every path of three steps, the expected return of the first step is (I - gamma P)^-1 r."""
    facts, chances, states, room = paths(3, start=2, degrees=4)
    assert float(chances.sum()) == pytest.approx(1, abs=1e-12)
    values = policy_values(room.table(), some_policy(4, 3, seed=1), GAMMA)
    method = PPO(gamma=GAMMA, gae_lambda=lam, kl=KLInReward(coef=0), bootstrap_truncated=True)
    seen = Evaluation(logprobs=facts.logprobs, values=values[states[:, :-1]], bootstrap=values[states[:, -1]])
    returns = method.credit(facts, seen, None).returns
    assert returns is not None
    assert float((chances * returns[:, 0]).sum()) == pytest.approx(float(values[2]), abs=1e-6)
    lost = replace(method, bootstrap_truncated=False).credit(facts, seen, None).returns
    assert lost is not None
    last = float((chances * values[states[:, 2]]).sum())
    assert float((chances * returns[:, 2]).sum()) == pytest.approx(last, abs=1e-6)
    assert abs(float((chances * lost[:, 2]).sum()) - last) > 1


def test_the_optimum_beats_every_policy_of_a_small_room() -> None:
    room = Thermostat(coldest=18, warmest=21, wanted=19)
    table = room.table()
    best, action = value_iteration(table, GAMMA)
    everything = [
        policy_values(table, torch.eye(3, dtype=torch.float64)[torch.tensor(choice)], GAMMA)
        for choice in itertools.product(range(3), repeat=4)
    ]
    torch.testing.assert_close(torch.stack(everything).amax(0), best, rtol=0, atol=1e-9)
    assert torch.equal(action_values(table, best, GAMMA).argmax(-1), action)


def test_the_best_thermostat_heats_less_as_it_gets_warmer() -> None:
    best, action = value_iteration(ROOM.table(), GAMMA)
    assert bool((action.diff() <= 0).all())
    assert action[0] == 2
    assert action[-1] == 0
    assert 1 in action.tolist()
    uniform = policy_values(ROOM.table(), torch.full((15, 3), 1 / 3), GAMMA)
    assert float(uniform.mean() / best.mean()) < 0.8  # there is something to learn


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wanted": 40}, "expected rising"),
        ({"leak": 1.5}, "a probability"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_rooms_without_meaning_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Thermostat(**change)  # type: ignore[arg-type]


def test_tables_without_meaning_are_refused() -> None:
    good = ROOM.table()
    with pytest.raises(ValueError, match="sum to 1"):
        Table(good.transitions * 1.1, good.rewards, good.start)
    with pytest.raises(ValueError, match="start"):
        Table(good.transitions, good.rewards, good.start * 2)
    with pytest.raises(ValueError, match="shapes"):
        Table(good.transitions[:3], good.rewards, good.start)
    with pytest.raises(ValueError, match="gamma is 1"):
        value_iteration(good, 1)
