"""Reinforcement in an environment as a stage: its rates, and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posttrain.environments.writing import Writing
from posttrain.metrics import flat
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.policy_gradients.ppo import PPO
from posttrain.stages.control import Control
from posttrain.stages.play_metrics import of_run


def test_the_rates_fall_over_all_updates_and_the_critic_has_its_own(tmp_path: Path) -> None:
    stage = Control(
        environment=Writing(), method=PPO(epochs=2, minibatches=2), steps=3, starts=4, learning_rate=1e-3
    )
    stage.run(Inputs({}), tmp_path, Machine(quiet=True))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    rates = [line["learning_rate/policy"] / stage.learning_rate for line in lines]
    assert rates == pytest.approx([1 - update / 12 for update in range(12)])
    assert stage.critic_learning_rate != stage.learning_rate
    assert [line["learning_rate/critic"] for line in lines] == pytest.approx(
        [rate * stage.critic_learning_rate for rate in rates]
    )


def test_it_ends_with_the_mean_of_its_last_tenth_of_batches() -> None:
    history = [
        {"step": step + 1, "return": float(step) + 100 * update, "tokens": 5}
        for step in range(20)
        for update in range(2)
    ]
    metrics = flat(of_run(history))
    assert (metrics["return_start"], metrics["return_final"]) == (0.0, 18.5)
    assert (metrics["steps"], metrics["actions"]) == (20, 100)
