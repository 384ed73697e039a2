"""The small networks read the same records as a language model, and by the same rules."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from posttrain.core.batch import Rollouts, Wants
from posttrain.environments.cartpole import CartPole
from posttrain.models.mlp import MLPPolicy, MLPReward, network
from posttrain.pipeline.finding import UserError
from posttrain.rollouts.play import play


@pytest.fixture(scope="module")
def facts() -> Rollouts:
    """Falls and cuts, at a temperature of 0.7."""
    return play(CartPole(limit=18), MLPPolicy(4, 2, seed=5), range(10), temperature=0.7)


def opinionated(seed: int = 0) -> MLPPolicy:
    actor = MLPPolicy(4, 2, hidden=(8,), seed=seed)
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.mul_(3).add_(0.1)
    return actor


def test_it_begins_with_all_actions_alike() -> None:
    shares = MLPPolicy(4, 3).logits(torch.randn(50, 4)).softmax(-1)
    assert float((shares - 1 / 3).abs().max().detach()) < 0.03


def test_numbers_step_by_step(facts: Rollouts) -> None:
    """Each entry against the network read one observation at a time."""
    actor, other = opinionated(), opinionated(1)
    wants = Wants(values=True, exact_kl=True)
    now = actor.evaluate(facts, wants, other)
    seen = facts.context["observations"]
    assert now.entropy is not None
    assert now.values is not None
    assert now.bootstrap is not None
    assert now.kl is not None
    for row in range(len(facts)):
        for t in range(int(facts.action_mask[row].sum())):
            p = (actor.logits(seen[row, t]) / 0.7).softmax(-1)
            q = (other.logits(seen[row, t]) / 0.7).softmax(-1)
            want = float(p[facts.actions[row, t]].log())
            assert float(now.logprobs[row, t]) == pytest.approx(want, abs=1e-5)
            assert float(now.entropy[row, t]) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-5)
            assert float(now.kl[row, t]) == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-5)
            assert float(now.values[row, t]) == pytest.approx(float(actor.critic(seen[row, t])), abs=1e-5)
        after = seen[row, int(facts.action_mask[row].sum())]
        assert float(now.bootstrap[row]) == pytest.approx(float(actor.critic(after)), abs=1e-5)


def test_what_it_reads_through_is_saved_with_it(facts: Rollouts, tmp_path: Path) -> None:
    """Sampler, trainer and a loaded copy see one normalisation; one that reads plainly is stored as ever."""
    actor = MLPPolicy(4, 2, hidden=(8,), seed=3, normalise=True)
    plain = MLPPolicy(4, 2, hidden=(8,), seed=3)
    seen = facts.context["observations"]
    assert torch.equal(actor.logits(seen), plain.logits(seen))  # nothing was observed yet
    actor.observe(facts)
    assert not torch.allclose(actor.logits(seen), plain.logits(seen))
    moments = seen[:, :-1][facts.action_mask].double()
    by_hand = ((seen.double() - moments.mean(0)) / moments.std(0, correction=0)).clamp(-10, 10)
    assert torch.allclose(actor.logits(seen), plain.logits(by_hand.float()), atol=1e-5)
    played = play(CartPole(limit=18), actor, range(5))
    read = actor.evaluate(played, Wants(values=True))
    mask = played.action_mask
    assert torch.allclose(read.logprobs[mask], played.logprobs[mask], atol=1e-6)
    actor.save(tmp_path)
    again = MLPPolicy.load(tmp_path)
    assert torch.equal(again.logits(seen), actor.logits(seen))
    assert torch.equal(again.value(seen), actor.value(seen))
    again.observe(played)  # and its stream goes on where it was
    actor.observe(played)
    assert torch.equal(again.logits(seen), actor.logits(seen))
    plain.save(tmp_path)
    assert "normalise" not in (tmp_path / "mlp.json").read_text()


def test_junk_in_padding_changes_nothing(facts: Rollouts) -> None:
    actor = opinionated()
    seen = facts.context["observations"].clone()
    past = torch.arange(seen.shape[1])[None] > facts.action_mask.sum(1)[:, None]
    assert past.any()
    seen[past] = float("nan")
    junk = replace(
        facts, context={"observations": seen}, actions=facts.actions.masked_fill(~facts.action_mask, 7)
    )
    wants = Wants(values=True)
    plain, other = actor.evaluate(facts, wants), actor.evaluate(junk, wants)
    for name in ("logprobs", "entropy", "values"):
        assert torch.equal(getattr(plain, name)[facts.action_mask], getattr(other, name)[facts.action_mask])
    assert torch.equal(plain.bootstrap, other.bootstrap)  # type: ignore[arg-type]
    reward = MLPReward(4, 2)
    assert torch.equal(reward.score(facts), reward.score(junk))


def test_only_what_is_wanted_is_computed(facts: Rollouts) -> None:
    actor = opinionated()
    bare = actor.evaluate(facts, Wants(entropy=False))
    assert bare.entropy is bare.values is bare.bootstrap is bare.kl is None
    entropy = actor.evaluate(facts, Wants()).entropy
    assert entropy is not None
    assert not entropy.requires_grad
    bonus = actor.evaluate(facts, Wants(entropy_gradient=True)).entropy
    assert bonus is not None
    assert bonus.requires_grad


def test_policy_and_critic_share_nothing(facts: Rollouts) -> None:
    actor = opinionated()
    actor.evaluate(facts, Wants()).logprobs[facts.action_mask].sum().backward()
    assert all(p.grad is not None for p in actor.parameters_of("policy"))
    assert all(p.grad is None for p in actor.parameters_of("critic"))


def test_a_reward_sees_what_was_done(facts: Rollouts) -> None:
    reward = MLPReward(4, 2)
    plain = reward.score(facts)
    turned = reward.score(replace(facts, actions=1 - facts.actions))
    assert bool((plain != turned)[facts.action_mask].all())
    assert not plain[~facts.action_mask].any()


def test_what_was_saved_is_read_again(tmp_path: Path, facts: Rollouts) -> None:
    actor = opinionated()
    actor.save(tmp_path)
    again = MLPPolicy.load(tmp_path)
    assert torch.equal(again.logits(torch.ones(3, 4)), actor.logits(torch.ones(3, 4)))
    (tmp_path / "mlp.json").write_text('{"observations": 5, "actions": 2, "hidden": [8]}')
    with pytest.raises(UserError, match="not a policy"):
        MLPPolicy.load(tmp_path)
    with pytest.raises(UserError, match="not a policy"):
        MLPPolicy.load(tmp_path / "nowhere")


def test_two_widths_are_a_table() -> None:
    table = network([3, 2], 1.0, 0)
    assert len(table) == 1
    assert table(torch.eye(3)).shape == (3, 2)
    assert math.isclose(float(table[0].weight.square().sum()), 2, rel_tol=1e-5)  # type: ignore[operator, union-attr]


def test_without_a_bias_what_is_learned_of_one_state_changes_no_other(tmp_path: Path) -> None:
    """An action that costs nearly everywhere would be given up in the states where it pays, too."""
    states = torch.eye(3)
    for bias in (False, True):
        table = MLPPolicy(3, 2, hidden=(), seed=1, bias=bias)
        before = table.logits(states).detach(), table.value(states).detach()
        (table.logits(states[0])[1] + table.value(states[0])).backward()
        with torch.no_grad():
            for weight in table.parameters():
                weight -= 0.5 * weight.grad  # type: ignore[operator]
        for now, then in zip((table.logits(states), table.value(states)), before, strict=True):
            assert not torch.equal(now[0], then[0])
            assert torch.equal(now[1:], then[1:]) != bias
        table.save(tmp_path)
        assert torch.equal(MLPPolicy.load(tmp_path).logits(states), table.logits(states))
    assert "bias" not in MLPPolicy(3, 2, hidden=()).shape  # stored as ever


def test_an_exact_kl_needs_its_like(facts: Rollouts) -> None:
    with pytest.raises(TypeError, match="exact KL"):
        opinionated().evaluate(facts, Wants(exact_kl=True), object())  # type: ignore[arg-type]


def test_a_reward_of_normalised_inputs(facts: Rollouts) -> None:
    """It equals the network on inputs that were scaled beforehand."""
    reward = MLPReward(4, 2, seed=3)
    plain = reward.score(facts)
    reward.normalise(facts)
    assert not torch.allclose(reward.score(facts), plain)
    observations, mask = facts.context["observations"][:, :-1], facts.action_mask
    inputs = torch.cat([observations[mask], torch.eye(2)[facts.actions[mask]]], -1)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0, correction=0)
    assert torch.allclose(reward.score(facts)[mask], reward.network(inputs)[:, 0], atol=1e-5)


def test_a_bounded_reward_stays_within_its_bound(facts: Rollouts) -> None:
    plain = MLPReward(4, 2, seed=3).score(facts)
    bounded = MLPReward(4, 2, seed=3, bound=0.005).score(facts)
    assert float(bounded.abs().max()) <= 0.005 < float(plain.abs().max())
    assert torch.allclose(bounded, 0.005 * (plain / 0.005).tanh(), atol=1e-7)


def test_rows_of_full_length_are_evaluated_as_those_with_a_mask_are(facts: Rollouts) -> None:
    """Without the detour over a mask, but to the same numbers and gradients."""
    width = int(facts.action_mask.sum(1).min())
    cut = replace(
        facts,
        context={"observations": facts.context["observations"][:, : width + 1]},
        **{
            name: getattr(facts, name)[:, :width]
            for name in ("actions", "action_mask", "turn", "logprobs", "rewards")
        },
    )
    assert bool(cut.action_mask.all())
    policy, reward, steps = opinionated(), MLPReward(4, 2, seed=3), []
    for rollouts in (cut, facts):
        mask = torch.zeros_like(rollouts.action_mask)
        mask[:, :width] = True
        with_mask = replace(rollouts, action_mask=mask)
        evaluation = policy.evaluate(with_mask, Wants(values=True))
        assert evaluation.values is not None
        score = reward.score(with_mask)
        total = (evaluation.logprobs + evaluation.values + score)[:, :width].sum()
        gradients = torch.autograd.grad(
            total, [*policy.parameters_of("policy"), *reward.network.parameters()]
        )
        steps.append([evaluation.logprobs[:, :width], score[:, :width], *gradients])
    for a, b in zip(*steps, strict=True):
        torch.testing.assert_close(a, b)
