from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from posttrain.core.batch import Evaluation, Term
from posttrain.core.preferences import ranked, wanted
from posttrain.core.reduction import maximum, row_mean, token_mean
from posttrain.direct_alignment.sft import SFT
from posttrain.training.optimizer import Group, Optimizer
from posttrain.training.update import Part, cut, update
from tests.tiny import rollouts

LENGTHS = [3, 1, 5, 2, 4, 1, 7, 2]
MASK = torch.arange(8)[None, :] < torch.tensor(LENGTHS)[:, None]
FACTS = rollouts(torch.zeros(8, 9, dtype=torch.long), MASK)
PAST = wanted(FACTS)


def optimizer(*values: float, **group: float) -> tuple[torch.nn.Parameter, Optimizer]:
    parameter = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))
    settings = {"learning_rate": 0.1, "clip_norm": 1e9} | group
    return parameter, Optimizer([Group(name="policy", parameters=[parameter], **settings)])  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [1, 7, 8, 12, 25, 1000])
def test_a_cut_holds_every_row_once_within_the_limit(limit: int) -> None:
    pieces = cut(FACTS, limit)
    assert torch.cat(pieces).tolist() == list(range(8))
    costs = torch.tensor(LENGTHS)
    assert all(len(piece) == 1 or int(costs[piece].sum()) <= limit for piece in pieces)


def test_a_cut_is_about_even() -> None:
    facts = rollouts(torch.zeros(40, 11, dtype=torch.long), torch.ones(40, 10, dtype=torch.bool))
    assert [len(piece) for piece in cut(facts, 190)] == [13, 14, 13]


def test_a_cut_keeps_groups_whole_wherever_their_rows_are() -> None:
    facts = replace(FACTS, group=torch.tensor([3, 1, 3, 0, 1, 0, 9, 3]))
    pieces = cut(facts, 10, whole_groups=True)
    assert len(pieces) > 1
    assert sorted(torch.cat(pieces).tolist()) == list(range(8))
    for number in facts.group.unique():
        assert sum(bool((facts.group[piece] == number).any()) for piece in pieces) == 1


def test_a_prompt_counts_once_for_neighbours_of_its_group() -> None:
    mask = torch.arange(10)[None, :].expand(8, -1) >= 6  # six steps of prompt, four of answer
    facts = rollouts(torch.zeros(8, 11, dtype=torch.long), mask)
    together = replace(facts, group=torch.arange(8) // 4)
    assert [len(piece) for piece in cut(facts, 22)] == [2, 2, 2, 2]
    for whole in (False, True):
        assert [len(piece) for piece in cut(together, 22, whole)] == [4, 4]
    for limit in (10, 14, 18, 31):  # a piece that begins within a group has its prompt again
        for piece in cut(together, limit):
            assert 6 * len(together.group[piece].unique()) + 4 * len(piece) <= limit


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        cut(FACTS, 0)


def parts(parameter: torch.nn.Parameter) -> Part:
    def forward(past: object) -> Evaluation:
        rows = past.rollouts  # type: ignore[attr-defined]
        return Evaluation(
            logprobs=-(parameter[0] * rows.actions.shape[1] + parameter[1] * rows.group[:, None])
            * rows.action_mask
        )

    def loss(now: Evaluation, past: object) -> dict[str, Term]:
        return {
            "a": Term(now.logprobs, token_mean),
            "b": Term(now.logprobs.sum(1).square(), row_mean, 0.5),
            "largest": Term(now.logprobs.detach(), maximum, 0.0),
        }

    return Part(PAST, forward, loss)


def test_terms_add_up_whatever_the_cut() -> None:
    reports, ends = [], []
    for limit in (1000, 9, 1):
        parameter, opt = optimizer(1.0, 2.0)
        reports.append(update(opt, [parts(parameter)], limit))
        ends.append(parameter.detach())
    for report, end in zip(reports[1:], ends[1:], strict=True):
        assert report == pytest.approx(reports[0], rel=1e-12)
        torch.testing.assert_close(end, ends[0], rtol=1e-12, atol=0)
    assert reports[0]["loss"] == pytest.approx(reports[0]["a"] + 0.5 * reports[0]["b"], rel=1e-12)
    assert reports[0]["largest"] == -8


def test_parts_are_mixed_by_their_coefficients() -> None:
    gradients = []
    for coefs in ((1.0, 0.0), (0.0, 1.0), (2.0, 3.0)):
        parameter, opt = optimizer(1.0, 2.0)
        one = parts(parameter)
        other = Part(PAST, one.forward, SFT().loss, name="text/")
        seen: list[torch.Tensor] = []
        parameter.register_post_accumulate_grad_hook(lambda p, seen=seen: seen.append(p.grad.clone()))  # type: ignore[misc]
        report = update(opt, [replace(one, coef=coefs[0]), replace(other, coef=coefs[1])], 1000)
        assert "a" in report
        assert "text/nll" in report
        gradients.append(seen[-1])
    torch.testing.assert_close(gradients[2], 2 * gradients[0] + 3 * gradients[1], rtol=1e-12, atol=0)


def test_a_term_of_the_wrong_shape_is_named() -> None:
    parameter, opt = optimizer(1.0, 2.0)
    bad = replace(parts(parameter), loss=lambda now, past: {"odd": Term(now.logprobs, row_mean)})
    with pytest.raises(ValueError, match=r"'odd' has values of shape \(8, 8\), its weights \(8,\)"):
        update(opt, [bad], 1000)


def test_a_maximum_has_no_gradient() -> None:
    parameter, opt = optimizer(1.0, 2.0)
    bad = replace(parts(parameter), loss=lambda now, past: {"top": Term(now.logprobs, maximum)})
    with pytest.raises(ValueError, match="'top' is a maximum"):
        update(opt, [bad], 1000)


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    parameter, opt = optimizer(1.0, 2.0)
    good = parts(parameter)
    bad = replace(good, loss=lambda now, past: {"worse": Term(now.logprobs / 0, token_mean)})
    with pytest.raises(FloatingPointError, match=r"policy is nan.*worse"):
        update(opt, [bad], 1000)
    assert parameter.tolist() == [1, 2]
    assert opt.steps == 0
    update(opt, [good], 1000)
    assert parameter.isfinite().all()
    assert parameter.tolist() != [1, 2]


def test_pairs_of_a_cut_batch_are_the_pairs_of_the_batch() -> None:
    from posttrain.reward_losses.bradley_terry import BradleyTerry

    group = torch.tensor([3, 1, 3, 0, 1, 0, 9, 3])
    past = ranked(replace(FACTS, group=group), torch.tensor([2, 0, 0, 1, 1, 0, 0, 1]))
    reports = []
    for limit in (1000, 6):
        parameter, opt = optimizer(0.3, -0.2)
        forward = lambda p, w=parameter: (w[0] * p.rollouts.group[:, None] + w[1]) * p.rollouts.action_mask  # noqa: E731
        loss = BradleyTerry(center_coef=0.1)
        reports.append(update(opt, [Part(past, forward, loss.loss, whole_groups=True)], limit))
    assert reports[1] == pytest.approx(reports[0], rel=1e-12)


def test_sums_on_a_cpu_have_one_order_and_only_during_an_update() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    plain, seen = parts(parameter), []

    def watched(past: Any) -> Any:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return plain.forward(past)

    optimizer = Optimizer([Group(name="policy", parameters=[parameter], learning_rate=0.1)])
    update(optimizer, [replace(plain, forward=watched)], 1000)
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()
