from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from posttrain.core.batch import Evaluation, PreferenceBatch, Term, Wants
from posttrain.core.masked import masked_sum
from posttrain.core.preferences import ranked, wanted
from posttrain.core.reduction import row_mean
from posttrain.direct_alignment.sft import SFT
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.training.fit import Epochs, FitState, fit
from posttrain.training.optimizer import Group, Optimizer
from tests.tiny import TinyPolicy, rollouts

TOKENS = torch.randint(0, 5, (12, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(6)[None, :] < torch.tensor([6, 3, 2, 5, 6, 1, 4, 4, 2, 6, 3, 5])[:, None]


def optimizer(policy: TinyPolicy) -> Optimizer:
    return Optimizer([Group(name="policy", parameters=list(policy.parameters()), learning_rate=0.02)])


def demonstrations(plan: Epochs):  # type: ignore[no-untyped-def]
    def batches(step: int) -> PreferenceBatch:
        rows = torch.tensor(plan.at(step))
        return wanted(rollouts(TOKENS[rows], MASK[rows]))

    return batches


def instruct(policy: TinyPolicy, state: FitState, opt: Optimizer, plan: Epochs, steps: int):  # type: ignore[no-untyped-def]
    return fit(
        state,
        lambda past: policy.evaluate(past.rollouts, SFT().wants),
        SFT(),
        demonstrations(plan),
        opt,
        steps=steps,
        micro_batch_tokens=9,
    )


def test_an_epoch_reads_every_row_once() -> None:
    plan = Epochs(rows=12, batch_size=5, seed=1, epochs=2)
    assert plan.steps == 6
    assert plan.per_epoch == 3
    first, second = ([r for s in steps for r in plan.at(s)] for steps in (range(3), range(3, 6)))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert [len(plan.at(s)) for s in range(3)] == [5, 5, 2]
    with pytest.raises(ValueError, match="at least 1"):
        Epochs(rows=0, batch_size=5, seed=1)


def test_rows_that_belong_together_follow_each_other() -> None:
    together = [0, 1, 2, 0, 1, 2, 3, 0]
    plan = Epochs(rows=8, batch_size=3, seed=1, epochs=2, together=together)
    for steps in (range(3), range(3, 6)):
        read = [r for s in steps for r in plan.at(s)]
        assert sorted(read) == list(range(8))
        blocks = [together[r] for r in read]
        assert all(blocks.index(b) + blocks.count(b) - 1 == 7 - blocks[::-1].index(b) for b in set(blocks))


def test_blocks_come_in_another_order_in_every_epoch() -> None:
    together = [place // 2 for place in range(12)]
    plan = Epochs(rows=12, batch_size=12, seed=1, epochs=4, together=together)
    orders = [tuple(dict.fromkeys(together[row] for row in plan.at(epoch))) for epoch in range(4)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len(set(orders)) == 4


def test_it_learns_its_demonstrations() -> None:
    policy, plan = TinyPolicy(), Epochs(rows=12, batch_size=4, seed=1, epochs=40)
    metrics = list(instruct(policy, FitState(), optimizer(policy), plan, plan.steps))
    assert metrics[-1]["nll"] < 0.6 * metrics[0]["nll"]
    assert [row["step"] for row in metrics] == list(range(1, plan.steps + 1))
    assert metrics[0]["tokens"] == MASK[torch.tensor(plan.at(0))].sum()


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_stopped_anywhere_and_continued_it_is_the_same_bits(stop: int) -> None:
    plan = Epochs(rows=12, batch_size=5, seed=1, epochs=2)
    whole = TinyPolicy()
    list(instruct(whole, FitState(), optimizer(whole), plan, plan.steps))
    policy, state = TinyPolicy(), FitState()
    opt = optimizer(policy)
    list(instruct(policy, state, opt, plan, stop))
    again = TinyPolicy(seed=9)
    again.load_state_dict(copy.deepcopy(policy.state_dict()))
    new = optimizer(again)
    new.load_state_dict(copy.deepcopy(opt.state_dict()))
    assert len(list(instruct(again, copy.copy(state), new, plan, plan.steps))) == plan.steps - stop
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_a_reward_model_learns_who_won() -> None:
    model = TinyPolicy(dtype=torch.float32)
    count = (TOKENS[:, 1:] == 2).mul(MASK).sum(1)
    group = torch.arange(6).repeat_interleave(2)
    first = count.reshape(6, 2)[:, 0] > count.reshape(6, 2)[:, 1]
    rank = torch.stack([~first, first], 1).flatten().long()
    past = ranked(rollouts(TOKENS, MASK, group=group), rank)
    loop = fit(
        FitState(),
        lambda past: model.score(past.rollouts),
        BradleyTerry(),
        lambda step: past,
        optimizer(model),
        steps=60,
        micro_batch_tokens=13,
    )
    metrics = list(loop)
    assert metrics[-1]["accuracy"] == pytest.approx(1)
    assert metrics[-1]["pair_loss"] < 0.3 < metrics[0]["pair_loss"]


class Centred(SFT):
    """Measures the mean of the whole batch, as KTO does, and lets only what is above it count."""

    @property
    def wants(self) -> Wants:
        return replace(super().wants, measure=True)

    def measure(self, now: Evaluation, past: PreferenceBatch) -> PreferenceBatch:
        assert not now.logprobs.requires_grad
        total = masked_sum(now.logprobs, past.rollouts.action_mask)
        return replace(past, baseline=total.mean().expand(len(total)))

    def loss(self, now: Evaluation, past: PreferenceBatch) -> dict[str, Term]:
        assert past.baseline is not None
        total = masked_sum(now.logprobs, past.rollouts.action_mask)
        return {"loss_above": Term((past.baseline - total).relu(), row_mean)}


def test_what_is_measured_is_of_the_whole_batch() -> None:
    ends = []
    for limit in (1000, 9):
        policy, method = TinyPolicy(), Centred()
        plan = Epochs(rows=12, batch_size=12, seed=1)
        forward = lambda past, p=policy: p.evaluate(past.rollouts, SFT().wants)  # noqa: E731
        loop = fit(
            FitState(),
            forward,
            method,
            demonstrations(plan),
            optimizer(policy),
            steps=2,
            micro_batch_tokens=limit,
        )
        ends.append([row["loss"] for row in loop])
    assert ends[1] == pytest.approx(ends[0], rel=1e-12)
    assert ends[0][0] > 0
