"""Whatever a stage counts or is trained with is checked before the first stage begins."""

from __future__ import annotations

import pytest

from posttrain import settings
from posttrain.pipeline.finding import UserError
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
