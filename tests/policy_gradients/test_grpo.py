from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from posttrain.core.batch import Evaluation, take
from posttrain.core.kl import KLInReward
from posttrain.policy_gradients.cispo import CISPO
from posttrain.policy_gradients.dapo import DAPO
from posttrain.policy_gradients.dr_grpo import DrGRPO
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.gspo import GSPO
from posttrain.policy_gradients.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from posttrain.policy_gradients.rloo import RLOO
from posttrain.policy_gradients.sapo import SAPO
from tests.policy_gradients.scene import (
    MASK,
    STEPS,
    Scene,
    agree,
    clipped,
    facts,
    k3_of,
    noise,
    ratio,
    standardized,
    totals,
)

COMPARING = [RLOO, GRPO, DrGRPO, DAPO, GSPO, CISPO, SAPO, ReinforcePlusPlusBaseline]


def test_its_formula() -> None:
    """Both clips act in the scene, and neither on all steps."""
    scene = Scene()
    advantages, want, acted = standardized(totals(scene)), torch.zeros(()), 0
    for row, steps in enumerate(STEPS):
        for t in steps:
            kept = clipped(ratio(scene, row, t), advantages[row], 0.2, 0.2)
            acted += not kept.requires_grad
            want = want - (kept - 0.04 * k3_of(scene, row, t)) / len(steps) / 5
    assert 0 < acted < 14
    agree(scene, GRPO(), want)


def test_without_std_and_with_kl_in_the_reward() -> None:
    scene = Scene()
    advantages, want = standardized(totals(scene, 0.3), std=False), torch.zeros(())
    for row, steps in enumerate(STEPS):
        for t in steps:
            want = want - clipped(ratio(scene, row, t), advantages[row], 0.1, 0.1) / len(steps) / 5
    agree(scene, GRPO(std=False, clip_range=0.1, kl=KLInReward(coef=0.3)), want)


@pytest.mark.parametrize("kind", COMPARING)
def test_a_row_alone_in_its_group_is_refused(kind: Any) -> None:
    alone = facts(group=torch.tensor([7, 7, 3, 7, 4]))
    with pytest.raises(ValueError, match=r"alone in its group.*group_size"):
        Scene(facts=alone).experience(kind())


@pytest.mark.parametrize("kind", COMPARING)
def test_rows_left_alone_are_not_kept_unless_all_are(kind: Any) -> None:
    """One lost answer costs its group; a group_size of 1 is a mistake and must reach credit() to be named."""
    assert kind().keep(facts(group=torch.tensor([7, 7, 3, 7, 4]))).tolist() == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert kind().keep(facts(group=torch.arange(5))).all()


@pytest.mark.parametrize("kind", COMPARING)
def test_a_group_of_equals_gets_zeros(kind: Any) -> None:
    paid = facts().rewards.clone()
    paid[2, 2] = paid[4, 3] = 0.1 + 0.2
    past = Scene(facts=facts(rewards=paid)).experience(kind(kl=KLInReward(coef=0.0)))
    rest = past.advantages[[0, 1, 3]][MASK[[0, 1, 3]]]
    assert past.advantages.isfinite().all()
    if kind is not ReinforcePlusPlusBaseline:  # there the batch's mean is taken off them
        assert past.advantages[[2, 4]].abs().max() < 1e-9
    assert rest.abs().min() > 0.01


@pytest.mark.parametrize("kind", [kind for kind in COMPARING if kind is not ReinforcePlusPlusBaseline])
def test_a_group_that_is_there_twice_changes_no_other(kind: Any) -> None:
    scene = Scene()
    rows = torch.tensor([0, 1, 2, 3, 4, 2, 4])
    again = replace(take(scene.facts, rows), group=torch.tensor([7, 7, 3, 7, 3, 8, 8]))
    before, reference = (Evaluation(logprobs=x[rows]) for x in (scene.before, scene.reference))
    twice = kind().credit(again, before, reference).advantages
    assert torch.equal(twice[:5], scene.experience(kind()).advantages)
    assert torch.equal(twice[5:], twice[[2, 4]])


def test_the_trainer_reads_before_only_what_is_reused() -> None:
    assert not GRPO().wants.before
    assert GRPO(minibatches=2).wants.before
    assert GRPO(epochs=2).wants.before
    assert not GRPO().wants.values


def test_a_policy_that_did_not_move_has_ratio_one() -> None:
    scene = Scene()
    still = GRPO().loss(Evaluation(logprobs=scene.before, entropy=noise(8)), scene.experience(GRPO()))
    assert still["ratio_max"].values[MASK].unique().tolist() == [1.0]
    assert not still["clip_fraction"].values.any()
    assert not still["approx_kl"].values.any()
    assert {name for name, term in still.items() if term.coef} == {"policy_loss", "kl_loss"}


@pytest.mark.parametrize("kind", [kind for kind in COMPARING if kind is not RLOO])
@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"minibatches": 0}])
def test_updates_are_counted_from_one(kind: Any, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}.{next(iter(wrong))} is 0"):
        kind(**wrong)


@pytest.mark.parametrize("wrong", [{"clip_range": 0.0}, {"std_eps": 0.0}, {"clip_range": float("nan")}])
def test_settings_without_meaning_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GRPO(**wrong)  # type: ignore[arg-type]
