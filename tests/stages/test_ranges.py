"""Whatever a stage counts or is trained with is checked before the first stage begins."""

from __future__ import annotations

from typing import Any

import pytest

from posttrain import settings
from posttrain.pipeline.finding import UserError
from posttrain.recipes.cartpole import cartpole
from posttrain.recipes.cartpole_from_preferences import cartpole_from_preferences
from posttrain.recipes.instructgpt import instructgpt


@pytest.mark.parametrize(
    "wish",
    [
        "sft.learning_rate=-1",
        "sft.batch_size=0",
        "sft.epochs=0",
        "rm.learning_rate=0",
        "pairs.answers=0",
        "pairs.temperature=0",
        "labels.per_pair=0",
        "prompts.rows=0",
        "demonstrations.rows=-5",
        "rl.learning_rate=inf",
        "rl.steps=0",
        "rl.group_size=0",
        "rl.temperature=0",
        "rl.critic_learning_rate=-1",
        "rl.kept_episodes=-1",
        "rl.method.clip_range=-0.2",
        "rl.method.kl.coef=-0.1",
        "rl.reward.missing_eos_penalty=-1",
        "rm.method.center_coef=-1",
        "evaluate.rows=0",
        "seed=-1",
    ],
)
def test_numbers_out_of_range_are_named_with_their_path(wish: str) -> None:
    name = wish.partition("=")[0].rpartition(".")[2]
    with pytest.raises(UserError, match=rf"{name} is -?[\d.inf]+, expected"):
        settings.expression(instructgpt, settings.parse([wish]))


@pytest.mark.parametrize("widths", ["0", "[64, 0]", "[-1]"])
@pytest.mark.parametrize("recipe", [cartpole, cartpole_from_preferences])
def test_a_layer_without_a_width_is_refused(recipe: Any, widths: str) -> None:
    with pytest.raises(UserError, match=r"hidden is \(.*\), expected a number above 0"):
        settings.expression(recipe, settings.parse([f"rl.hidden={widths}"]))
    assert settings.expression(recipe, settings.parse(["rl.hidden=[]"]))


def test_a_layer_of_a_learned_reward_has_a_width_too() -> None:
    with pytest.raises(UserError, match=r"hidden is \(0,\), expected widths of at least 1"):
        settings.expression(cartpole_from_preferences, settings.parse(["rl.comparisons.hidden=0"]))
