"""A reward from comparisons of stretches: what is asked, when answers come, and what is learned of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Rollouts, concatenate
from posttrain.core.preferences import pairs
from posttrain.environments.cartpole import CartPole
from posttrain.feedback.segments import SegmentAnnotator
from posttrain.models.mlp import OBSERVATIONS, MLPPolicy
from posttrain.pipeline.stage import Machine
from posttrain.rollouts.online_reward import Comparisons, OnlineReward
from posttrain.rollouts.play import Player
from posttrain.rollouts.stretches import balanced, begins, partners, stretches
from posttrain.stages.control import Control
from posttrain.training.rl_loop import RLState

SMALL = Comparisons(most=60, at_first=30, each_step=10, length=10, updates=0.1, batch_size=16)


def compared(settings: Comparisons = SMALL, seed: int = 0) -> OnlineReward:
    world = CartPole(limit=50, absorbing=True)
    return OnlineReward(Player(world, MLPPolicy(4, 2), starts=6, seed=seed), settings, seed)


@pytest.fixture(scope="module")
def facts() -> Rollouts:
    return Player(CartPole(limit=50, absorbing=True), MLPPolicy(4, 2), starts=6)(0)


def test_a_stretch_is_a_piece_of_its_row(facts: Rollouts) -> None:
    rows, places = torch.tensor([3, 0, 3, 5]), torch.tensor([0, 40, 12, 7])
    found = stretches(facts, rows, places, 10)
    for i, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True)):
        seen = facts.context[OBSERVATIONS][row, place : place + 11]
        assert torch.equal(found.context[OBSERVATIONS][i], seen)
        assert torch.equal(found.actions[i], facts.actions[row, place : place + 10])
        assert torch.equal(found.rewards[i], facts.rewards[row, place : place + 10])
    assert found.group.tolist() == [0, 0, 1, 1]


def test_more_than_still_frames_are_asked_about(facts: Rollouts) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(6, (600,), generator=generator)
    places = begins(facts, rows, 10, generator)
    assert int(places.min()) >= 0
    assert int(places.max()) <= 40
    seen = facts.context[OBSERVATIONS]
    moving = (seen[rows, places + 1] != seen[rows, places]).any(-1).float().mean()
    anywhere = (seen[:, 1:41] != seen[:, :40]).any(-1).float().mean()
    assert float(moving) == pytest.approx(0.5 + 0.5 * float(anywhere), abs=0.08)
    with pytest.raises(ValueError, match="do not fit"):
        begins(facts, rows, 51, generator)


def test_the_few_plays_that_end_are_in_half_of_the_stretches() -> None:
    observations = torch.arange(51.0).repeat(20, 1)[..., None].clone()  # 19 of 20 plays move to the end
    observations[7, 30:] = 30.0
    plays = Player(CartPole(limit=50, absorbing=True), MLPPolicy(4, 2), starts=20)(0)
    plays = replace(plays, context={OBSERVATIONS: observations})
    rows, starts = balanced(plays, 2000, 10, torch.Generator().manual_seed(0))
    ends_still = observations[rows, starts + 10, 0] == observations[rows, starts + 9, 0]
    assert float(ends_still.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert set(rows[ends_still].tolist()) == {7}
    assert len(rows.unique()) == 20
    assert (int(starts.min()), int(starts.max())) == (0, 40)
    with pytest.raises(ValueError, match="do not fit"):
        balanced(plays, 2, 51, torch.Generator())


def test_play_without_rest_is_drawn_from_anywhere() -> None:
    moving = Player(CartPole(limit=20, absorbing=True), MLPPolicy(4, 2), starts=5)(0)
    moving = replace(moving, context={OBSERVATIONS: torch.arange(21.0).repeat(5, 1)[..., None]})
    rows, starts = balanced(moving, 500, 10, torch.Generator().manual_seed(0))
    assert rows.unique().tolist() == list(range(5))
    assert starts.unique().tolist() == list(range(11))


def test_the_median_step_of_untrained_play_is_paid_nothing() -> None:
    """Most of it lies on the ground, and a critic begins at 0."""
    settings = replace(SMALL, zero_untrained=True, first_plays=40, at_first=60, updates=2.0)
    source = OnlineReward(Player(CartPole(limit=200, absorbing=True), MLPPolicy(4, 2), starts=6), settings, 0)
    assert len(source(0)) == 6
    untrained = source.untrained
    assert untrained is not None
    assert len(untrained) == 40
    with torch.no_grad():
        paid = source.reward.score(untrained) - source.offset
    lying, standing = untrained.rewards == 0, untrained.rewards > 0
    assert float(paid.median()) == pytest.approx(0, abs=1e-5)
    assert float(paid[standing].mean()) > 3 * abs(float(paid[lying].mean()))
    source(1)  # the untrained play is not replaced by that of a later step
    assert source.untrained is untrained


@pytest.mark.parametrize("zero_untrained", [False, True])
def test_a_constant_of_the_learned_reward_changes_no_policy(zero_untrained: bool) -> None:
    """Comparisons of stretches of one length do not determine it, so where it begins must not matter."""
    settings = replace(SMALL, zero_untrained=zero_untrained, weight_decay=0.0)
    stage = Control(
        environment=CartPole(limit=40, absorbing=True), comparisons=settings, steps=2, starts=6, seed=3
    )
    policies, rewards = [], []
    for constant in (0.0, 0.7):
        policy, collect, _, loop = stage._loop(Machine(quiet=True), RLState())
        with torch.no_grad():
            collect.paying.reward.network[-1].bias += constant
        assert len(list(loop)) == 8
        policies.append(torch.cat([p.detach().flatten() for p in policy.parameters()]))
        rewards.append(collect.last.rewards)
    torch.testing.assert_close(*rewards, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(*policies, atol=1e-3, rtol=1e-2)


def test_two_answers_to_one_prompt() -> None:
    group, rows = torch.tensor([5, 5, 5, 2, 2, 9, 9]), torch.tensor([0, 3, 4, 6, 1] * 40)
    found = partners(group, rows, torch.Generator().manual_seed(0))
    assert torch.equal(group[found], group[rows])
    assert not bool((found == rows).any())
    assert len(found[rows == 0].unique()) == 2
    with pytest.raises(ValueError, match="group_size"):
        partners(torch.arange(3), torch.tensor([1]), torch.Generator())


def test_no_more_is_asked_than_was_allowed_and_a_pair_is_two_rows() -> None:
    one = compared()
    asked = []
    for step in range(6):
        one(step)
        asked.append(one.asked)
    assert asked == [30, 40, 50, 60, 60, 60]
    everything = concatenate(one.answered)
    assert len(pairs(everything).winner) == 60  # none between pairs of different steps
    assert everything.rollouts.group.unique().tolist() == list(range(60))


def test_answers_come_later_and_the_reward_waits_for_them() -> None:
    one = compared(replace(SMALL, delay=2, every=2))
    known, rewards = [], []
    for step in range(5):
        one(step)
        known.append(sum(len(judged.rank) // 2 for judged in one.answered))
        rewards.append([p.detach().clone() for p in one.reward.parameters()])
    assert known == [30, 30, 30, 40, 50]

    def moved(a: int, b: int) -> bool:
        return any(not torch.equal(x, y) for x, y in zip(rewards[a], rewards[b], strict=True))

    assert not moved(0, 1)
    assert not moved(1, 2)  # nothing new yet
    assert not moved(2, 3)  # new, and not yet time
    assert moved(3, 4)


def test_what_people_said_is_the_rank_and_a_tie_says_nothing() -> None:
    """Fallen poles earn nothing, so many stretches are ties; those who watch hardly err."""
    settings = replace(SMALL, at_first=60, watcher=SegmentAnnotator(temperature=1e-3))
    one = compared(settings)
    one(0)
    (judged,) = one.answered
    earned = judged.rollouts.rewards.sum(1).reshape(-1, 2)
    rank, sure = judged.rank.reshape(-1, 2), judged.confidence.reshape(-1, 2)
    tie = earned[:, 0] == earned[:, 1]
    assert 0 < int(tie.sum()) < len(tie)
    assert sure[tie].unique().tolist() == [0.5]
    assert sure[~tie].unique().tolist() == [1.0]
    better = (earned[:, 1] > earned[:, 0]).long()
    assert torch.equal(rank[~tie].argmin(1), better[~tie])


def test_the_environments_reward_is_replaced_and_kept_beside() -> None:
    one = compared()
    own, paid = one.player(0), one(0)
    assert torch.equal(paid.parts["return"], own.rewards.sum(1))
    assert not torch.equal(paid.rewards, own.rewards)
    again = replace(one.settings, watcher=one.settings.watcher)
    assert torch.equal(compared(again)(0).rewards, paid.rewards)


def test_what_is_learned_is_standing() -> None:
    """On play that nobody compared, against labels by a coin."""
    found = {}
    for shuffled in (False, True):
        settings = Comparisons(at_first=200, most=200, length=10, updates=2.0, shuffled_labels=shuffled)
        one = compared(settings)
        paid = one(0)
        new = Player(CartPole(limit=50, absorbing=True), MLPPolicy(4, 2), starts=30, seed=9)(0)
        with torch.no_grad():
            score = one.reward.score(new)
        standing = new.rewards > 0
        found[shuffled] = float((score[standing].mean() - score[~standing].mean()) / score.std())
        assert abs(float(paid.rewards.mean())) < float(paid.rewards.std())
        compared_steps = concatenate(one.answered).rollouts
        with torch.no_grad():
            again = one.reward.score(compared_steps)[compared_steps.action_mask] - one.offset
        assert float(again.mean()) == pytest.approx(0, abs=1e-5)  # the reward's own constant pays nothing
        assert torch.equal(paid.rewards, (one.reward.score(paid).detach() - one.offset) * paid.action_mask)
    assert found[False] > 1.2
    assert abs(found[True]) < found[False] - 0.5


def test_a_constant_reward_is_zero_and_asks_all_the_same() -> None:
    one = compared(replace(SMALL, constant=True))
    assert not one(0).rewards.any()
    assert one.last_metrics["comparisons"] == 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"most": 10},
        {"length": 0},
        {"delay": -1},
        {"learning_rate": 0.0},
        {"first_plays": -1},
        {"bound": 0.0},
        {"balanced": True, "same_start": True},
    ],
)
def test_settings_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        replace(SMALL, **wrong)  # type: ignore[arg-type]
