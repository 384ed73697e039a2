"""What the stage adds for environments of other scales than the cart-pole's: enough steps, and two units."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.environments.cartpole import CartPole
from posttrain.models.mlp import MLPPolicy
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Fingerprints
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.pipeline.store import Workspace
from posttrain.rollouts.online_reward import Comparisons
from posttrain.rollouts.play import Player
from posttrain.rollouts.waves import Waves
from posttrain.stages.control import Control

SMALL: dict[str, Any] = {"steps": 3, "starts": 2, "least_steps": 90, "hidden": (8,), "seed": 4}


def run(place: Path, **settings: Any) -> tuple[dict[str, Any], MLPPolicy]:
    place.mkdir()
    stage = Control(environment=CartPole(), **SMALL | settings)
    report = stage.run(Inputs({}), place, Machine(quiet=True))
    return dict(report.values), MLPPolicy.load(place)


def test_its_moments_are_of_what_every_batch_saw_but_the_one_to_come(tmp_path: Path) -> None:
    """The networks of a batch read through the moments of the batches before it, so that play and updates
    read alike."""
    metrics, policy = run(tmp_path / "a", normalise=True, scale_rewards=True)
    assert policy.normaliser is not None
    assert int(policy.normaliser.count) == metrics["actions"] >= 3 * 90
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert max(row["sampler_delta_max"] for row in rows if "sampler_delta_max" in row) < 1e-5
    assert all(row["reward_scale"] > 1 for row in rows)
    untrained = MLPPolicy(4, 2, (8,), 4)
    first = Waves(Player(CartPole(), untrained, starts=2, seed=4), 90)(0)
    assert rows[0]["return"] == pytest.approx(float(first.parts["return"].mean()))  # not scaled


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for place in ("a", "b"):
        run(tmp_path / place, normalise=True, scale_rewards=True)
    weights = [(tmp_path / place / "mlp.safetensors").read_bytes() for place in ("a", "b")]
    assert weights[0] == weights[1]
    _, other = run(tmp_path / "c", normalise=True, scale_rewards=True, seed=5)
    assert not torch.equal(other.normaliser.mean, MLPPolicy.load(tmp_path / "a").normaliser.mean)  # type: ignore[union-attr]


def test_the_unit_of_the_reward_changes_nothing_where_it_is_scaled(tmp_path: Path) -> None:
    """A cart-pole that pays 1 and one that pays 1,000 teach the same policy; unscaled they do not."""

    class Paying:
        """Whose copies pay a thousandfold."""

        observations, actions, limit, decision = 4, 2, 500, 1

        def open(self, seeds: Any) -> Any:
            carts = CartPole().open(seeds)
            step = carts.step

            def paid(actions: Any) -> Any:
                result = step(actions)
                return type(result)(
                    result.observation, result.reward * 1000, result.terminated, result.truncated
                )

            carts.step = paid  # type: ignore[method-assign]
            return carts

    def policy(place: str, environment: Any, scaled: bool) -> torch.Tensor:
        (tmp_path / place).mkdir()
        stage = Control(environment=environment, scale_rewards=scaled, **SMALL)
        stage.run(Inputs({}), tmp_path / place, Machine(quiet=True))
        return MLPPolicy.load(tmp_path / place).logits(torch.eye(4)).detach()

    assert torch.allclose(policy("a", CartPole(), True), policy("b", Paying(), True), atol=1e-4)
    assert not torch.allclose(policy("c", CartPole(), False), policy("d", Paying(), False), atol=1e-4)


def test_products_made_without_these_settings_stay_current(tmp_path: Path) -> None:
    """At their defaults they do not count in a fingerprint."""
    prints = Fingerprints(Workspace(tmp_path))
    later = {item.name for item in fields(Control) if item.metadata.get("later")}
    assert later >= {"least_steps", "normalise", "scale_rewards", "bias"}
    assert prints.of(Control(environment=CartPole())) != prints.of(
        Control(environment=CartPole(), normalise=True)
    )


def test_comparisons_are_of_a_fixed_number_of_plays() -> None:
    with pytest.raises(UserError, match="least_steps is 100"):
        Control(environment=CartPole(), comparisons=Comparisons(), least_steps=100)
