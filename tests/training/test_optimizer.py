from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import Parameter

from posttrain.training.optimizer import Group, Optimizer, constant, cosine, delayed, linear


def two() -> tuple[Parameter, Parameter, Optimizer]:
    a, b = Parameter(torch.ones(3)), Parameter(torch.ones(2))
    groups = [
        Group(name="policy", parameters=[a], learning_rate=0.1, clip_norm=1.0),
        Group(name="critic", parameters=[b], learning_rate=0.3, clip_norm=100.0, weight_decay=0.5),
    ]
    return a, b, Optimizer(groups, schedule=linear(10, warmup=1))


def move(a: Parameter, b: Parameter, opt: Optimizer, by: float = 10.0) -> dict[str, float]:
    a.grad, b.grad = torch.full((3,), by), torch.tensor([3.0, 4.0])
    return opt.step()


def test_groups_have_their_own_rate_and_norm() -> None:
    a, b, opt = two()
    metrics = move(a, b, opt)
    assert metrics["grad_norm/policy"] == pytest.approx(10 * 3**0.5)
    assert metrics["grad_norm/critic"] == 5
    assert metrics["learning_rate/policy"] == pytest.approx(0.05)
    assert metrics["learning_rate/critic"] == pytest.approx(0.15)
    torch.testing.assert_close(a.data, torch.full((3,), 0.95))
    torch.testing.assert_close(b.data, torch.full((2,), 1 - 0.15 * 0.5 - 0.15))
    assert a.grad is None


def test_a_gradient_is_clipped_to_its_groups_norm() -> None:
    ends = []
    for clip, by in ((1.0, 40.0), (1e9, 40.0 / (40 * 3**0.5))):
        a = Parameter(torch.ones(3))
        opt = Optimizer([Group(name="p", parameters=[a], learning_rate=0.1, clip_norm=clip)], eps=1.0)
        a.grad = torch.full((3,), by)
        opt.step()
        ends.append(a.data)
    torch.testing.assert_close(ends[0], ends[1])


def test_a_gradient_is_clipped_by_its_own_group_alone() -> None:
    """Beside a group whose gradient is large, one whose norm is 20 moves as it does without it."""
    ends = []
    for large in (0.0, 4000.0):
        a, b = Parameter(torch.ones(1)), Parameter(torch.ones(4))
        groups = [Group(name="a", parameters=[a], learning_rate=0.1)]
        groups.append(Group(name="b", parameters=[b], learning_rate=0.1))
        opt = Optimizer(groups, eps=1.0)
        a.grad, b.grad = torch.full((1,), large), torch.full((4,), 10.0)
        opt.step()
        ends.append(b.data)
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


def test_going_on_from_a_saved_state_gives_the_same_bits() -> None:
    a, b, opt = two()
    for _ in range(3):
        move(a, b, opt)
    c, d, again = two()
    c.data, d.data = a.data.clone(), b.data.clone()
    again.load_state_dict(copy.deepcopy(opt.state_dict()))
    for k in (0.0, 1.0, 2.0):
        assert move(a, b, opt, k) == move(c, d, again, k)
    assert torch.equal(a, c)
    assert torch.equal(b, d)


def test_schedules() -> None:
    assert [constant(3)(s) for s in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert [linear(5)(s) for s in (0, 1, 5, 9)] == pytest.approx([1, 0.8, 0, 0])
    assert linear(5, floor=0.1)(5) == pytest.approx(0.1)
    assert [cosine(10)(s) for s in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    assert [linear(10, warmup=4)(s) for s in (0, 3, 4, 7, 10, 12)] == pytest.approx([0.2, 0.8, 1, 0.5, 0, 0])
    assert [cosine(10, warmup=4)(s) for s in (0, 3, 4, 7, 10)] == pytest.approx([0.2, 0.8, 1, 0.5, 0])


def test_an_update_moves_by_the_rate_of_its_own_place() -> None:
    """With one gradient throughout, Adam moves a weight by the rate itself."""
    weight = Parameter(torch.zeros(2))
    group = Group(name="p", parameters=[weight], learning_rate=0.5, clip_norm=1e9)
    opt = Optimizer([group], schedule=linear(4, warmup=1), eps=1e-30)
    for place in range(5):
        before = weight.data.clone()
        weight.grad = torch.tensor([3.0, -1.0])
        rate = opt.step()["learning_rate/p"]
        assert rate == pytest.approx(0.5 * linear(4, warmup=1)(place))
        torch.testing.assert_close(before - weight.data, torch.tensor([rate, -rate]))


def test_the_pull_to_the_start_follows_the_schedule() -> None:
    weight = Parameter(torch.tensor([1.0]))
    group = Group(name="p", parameters=[weight], learning_rate=0.1, decay_to_start=2.0)
    opt = Optimizer([group], schedule=linear(4))
    weight.data.fill_(2.0)
    for factor in (1.0, 0.75, 0.5, 0.25, 0.0):
        before = float(weight.detach())
        weight.grad = torch.zeros(1)
        opt.step()
        assert float(weight.detach()) - 1 == pytest.approx((before - 1) * (1 - 0.1 * 2.0 * factor))


def test_a_parameter_in_two_groups_is_refused() -> None:
    a = Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="'critic' shares a parameter"):
        Optimizer([Group(name=n, parameters=[a], learning_rate=0.1) for n in ("policy", "critic")])


def test_a_group_without_gradients_stays() -> None:
    a, b, opt = two()
    a.grad = torch.ones(3)
    assert opt.step()["grad_norm/critic"] == 0
    assert torch.equal(b.data, torch.ones(2))


def test_a_group_that_waits() -> None:
    """Its schedule is times that of the optimizer, and the other group's rate does not know of it."""
    wait = delayed(3, warmup=1)
    assert [wait(step) for step in range(6)] == [0, 0, 0, 0.5, 1, 1]
    a, b = Parameter(torch.ones(3)), Parameter(torch.ones(2))
    groups = [
        Group(name="policy", parameters=[a], learning_rate=0.1, schedule=wait, decay_to_start=0.5),
        Group(name="critic", parameters=[b], learning_rate=0.3),
    ]
    opt, rates = Optimizer(groups, schedule=linear(10)), []
    for step in range(5):
        metrics = move(a, b, opt)
        rates.append((metrics["learning_rate/policy"], metrics["learning_rate/critic"]))
        assert torch.equal(a, torch.ones(3)) == (step < 3)
    assert rates[2] == pytest.approx((0, 0.3 * 0.8))
    assert rates[3] == pytest.approx((0.1 * 0.7 * 0.5, 0.3 * 0.7))
    assert rates[4] == pytest.approx((0.1 * 0.6, 0.3 * 0.6))
