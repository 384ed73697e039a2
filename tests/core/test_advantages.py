from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from posttrain.core.advantages import (
    differing,
    explained_variance,
    gae,
    group_centred,
    in_company,
    leave_one_out,
    others_mean,
    returns_to_go,
    whiten,
)

NAN = float("nan")

torch.manual_seed(0)


def by_definition(
    rewards: list[float], values: list[float], after: float, gamma: float, lam: float
) -> list[float]:
    """The double sum of the paper, written out."""
    following = [*values[1:], after]
    deltas = [r + gamma * w - v for r, v, w in zip(rewards, values, following, strict=True)]
    return [
        sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, len(deltas))) for t in range(len(deltas))
    ]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_gae_is_the_sum_of_its_definition(gamma: float, lam: float) -> None:
    r, v = torch.randn(2, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    bootstrap, truncated = torch.tensor([5.0, 7.0], dtype=torch.float64), torch.tensor([True, False])
    mask = torch.ones(2, 6, dtype=torch.bool)
    got = gae(r, v, mask, gamma=gamma, gae_lambda=lam, truncated=truncated, bootstrap=bootstrap)
    for row, after in ((0, 5.0), (1, 0.0)):
        want = by_definition(r[row].tolist(), v[row].tolist(), after, gamma, lam)
        assert got[row].tolist() == pytest.approx(want, rel=1e-12)


def test_gae_skips_what_was_not_chosen_bitwise() -> None:
    r, v = torch.randn(1, 4), torch.randn(1, 4)
    dense = gae(r, v, torch.ones(1, 4, dtype=torch.bool), gamma=0.9, gae_lambda=0.8)
    places = torch.tensor([1, 3, 4, 7])  # a prompt before, a tool's output and padding between and after
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[:, places] = True
    wide_r, wide_v = torch.full((1, 9), float("nan")), torch.full((1, 9), float("nan"))
    wide_r[:, places], wide_v[:, places] = r, v
    sparse = gae(wide_r, wide_v, mask, gamma=0.9, gae_lambda=0.8)
    assert torch.equal(sparse[:, places], dense)
    assert not sparse[~mask].any()


def test_with_lambda_one_it_is_the_return_less_the_value() -> None:
    r, v = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    got = gae(r, v, torch.ones(3, 5, dtype=torch.bool), gamma=1.0, gae_lambda=1.0)
    to_go = r.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(got, to_go - v)


def test_whitening_is_mean_zero_and_deviation_one_over_chosen_steps() -> None:
    x, mask = torch.randn(4, 7) * 3 + 5, torch.rand(4, 7) > 0.4
    out = whiten(x.masked_fill(~mask, float("nan")), mask)
    assert out[mask].mean().abs() < 1e-6
    assert (out[mask].std(correction=0) - 1).abs() < 1e-6
    assert not out[~mask].any()


def test_whitening_follows_neither_order_nor_padding() -> None:
    x, mask = torch.randn(4, 7) * 3 + 5, torch.rand(4, 7) > 0.4
    order = torch.tensor([2, 0, 3, 1])
    pad = torch.full((4, 5), float("nan"))
    wide_x, wide_mask = torch.cat([pad, x, pad], 1), torch.cat([pad > 0, mask, pad > 0], 1)
    assert torch.allclose(whiten(x, mask)[order], whiten(x[order], mask[order]), rtol=1e-7, atol=0)
    assert torch.allclose(whiten(x, mask), whiten(wide_x, wide_mask)[:, 5:12], rtol=1e-7, atol=0)


def test_whitening_what_does_not_vary_is_zero() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert not whiten(torch.full((2, 3), 0.1), mask).abs().gt(1e-6).any()


def test_explained_variance() -> None:
    returns, mask = torch.randn(3, 5), torch.rand(3, 5) > 0.3
    assert explained_variance(returns.masked_fill(~mask, float("nan")), returns, mask) == 1
    assert explained_variance(torch.zeros(3, 5), returns, mask).abs() < 1e-12
    assert explained_variance(-returns, returns, mask) < 0
    assert explained_variance(returns, torch.ones(3, 5), mask).isnan()


def test_returns_to_go_count_chosen_steps_only() -> None:
    mask = torch.tensor([[True, False, True, True]])
    rewards = torch.tensor([[1.0, 99.0, 2.0, 4.0]])
    assert returns_to_go(rewards, mask, 0.5).tolist() == [[3.0, 0.0, 4.0, 4.0]]


def test_others_are_compared_at_the_same_number_of_steps() -> None:
    """Rows of 2, 3 and 1 steps, the second after a prompt: their first steps are worth 1, 10 and 7."""
    mask = torch.tensor([[True, True, False, False], [False, True, True, True], [True, False, False, False]])
    x = torch.tensor([[1.0, 2, NAN, NAN], [NAN, 10, 20, 30], [7.0, NAN, NAN, NAN]])
    want = torch.tensor([[8.5, 20, 0, 0], [0, 4, 2, 0], [5.5, 0, 0, 0]])
    assert torch.equal(others_mean(x, mask), want)
    assert not others_mean(x[:1], mask[:1]).any()


GROUP = torch.tensor([5, 2, 5, 2, 5])
X = torch.tensor([1.0, 4.0, 2.0, 8.0, 6.0])


def test_groups_may_be_uneven_and_in_any_order() -> None:
    assert group_centred(X, GROUP).tolist() == [-2.0, -2.0, -1.0, 2.0, 3.0]
    assert leave_one_out(X, GROUP).tolist() == [-3.0, -4.0, -1.5, 4.0, 4.5]
    deviations = torch.tensor([7.0, 8.0, 7.0, 8.0, 7.0]).sqrt()
    torch.testing.assert_close(
        group_centred(X, GROUP, std=True, eps=0.0), group_centred(X, GROUP) / deviations
    )


def test_a_group_of_equals_gives_zeros_and_not_nan() -> None:
    same = torch.full((5,), 0.1)
    assert group_centred(same, GROUP, std=True).tolist() == [0.0] * 5
    assert leave_one_out(same, GROUP).abs().max() == 0
    assert not differing(same, GROUP).any()


@pytest.mark.parametrize("compare", [group_centred, leave_one_out])
def test_a_row_alone_is_refused_by_name(compare: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="row 3 is alone"):
        compare(X, torch.tensor([5, 2, 5, 9, 2]))


def test_who_is_in_company_and_who_differs() -> None:
    assert in_company(torch.tensor([5, 2, 5, 9, 2])).tolist() == [True, True, True, False, True]
    assert in_company(torch.arange(5)).all()
    assert differing(torch.tensor([1.0, 3, 1, 3.0001, 1]), GROUP).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]
