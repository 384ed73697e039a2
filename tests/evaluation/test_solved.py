"""A policy against the optimum of a table."""

from __future__ import annotations

import pytest
import torch

from posttrain.environments.tabular import value_iteration
from posttrain.environments.thermostat import Thermostat
from posttrain.evaluation.solved import against_the_optimum
from posttrain.metrics import flat
from posttrain.models.mlp import MLPPolicy

ROOM = Thermostat()


def actor(preferred: torch.Tensor, sure: float) -> MLPPolicy:
    """A table that takes the given action [S] in each state, the surer the higher ``sure``."""
    made = MLPPolicy(15, 3, ())
    with torch.no_grad():
        made.policy[0].weight.copy_(sure * torch.eye(3)[preferred].T)  # type: ignore[union-attr, operator]
        made.policy[0].bias.zero_()  # type: ignore[union-attr, operator]
    return made


def test_the_best_policy_earns_all_of_it_and_no_other_does() -> None:
    best, action = value_iteration(ROOM.table(), 0.95)
    found = flat(against_the_optimum(ROOM, actor(action, 60.0), 0.95))
    assert found["share_of_optimum"] == pytest.approx(1, abs=1e-6)
    assert found["value/optimum"] == pytest.approx(float(best.mean()))
    assert found["largest_rise"] == pytest.approx(0, abs=1e-6)
    assert [found[f"action/{degrees}"] for degrees in ROOM.degrees] == pytest.approx(
        action.tolist(), abs=1e-6
    )
    hesitant = flat(against_the_optimum(ROOM, actor(action, 2.0), 0.95))
    assert float(hesitant["share_of_optimum"]) < 0.97


def test_heating_when_warm_shows() -> None:
    backwards = torch.tensor([0] * 7 + [2] * 8)
    found = flat(against_the_optimum(ROOM, actor(backwards, 60.0), 0.95))
    assert found["largest_rise"] == pytest.approx(2, abs=1e-6)
    assert float(found["share_of_optimum"]) < 0.2


def test_what_is_left_of_chance_is_no_rise() -> None:
    """Low heating one time in eight at the coldest, where it costs little and play seldom is."""
    best = value_iteration(ROOM.table(), 0.95)[1]
    made = actor(best, 60.0)
    with torch.no_grad():
        made.policy[0].weight[:, 0] = torch.tensor([-60.0, 0.0, 2.0])  # type: ignore[union-attr, operator]
    found = flat(against_the_optimum(ROOM, made, 0.95))
    assert float(found["action/13"]) - float(found["action/12"]) == pytest.approx(0.12, abs=0.01)
    assert found["largest_rise"] == 0
    with torch.no_grad():
        made.policy[0].weight[:, 0] = torch.tensor([-60.0, 2.0, 0.0])  # type: ignore[union-attr, operator]
    assert against_the_optimum(ROOM, made, 0.95)["largest_rise"].value == 1


def test_without_a_preference_it_is_the_random_policy() -> None:
    found = flat(against_the_optimum(ROOM, actor(torch.zeros(15, dtype=torch.long), 0.0), 0.95))
    assert found["value/policy"] == pytest.approx(float(found["value/random"]))
