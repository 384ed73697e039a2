"""The collector of a reinforcement's answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from posttrain.core.batch import Refilling
from posttrain.stages.rl_work import Reinforcing

if TYPE_CHECKING:
    from posttrain.engines.builtin import BuiltinEngine
    from posttrain.models.chat import Chat
    from posttrain.rewards.base import Scorer
    from posttrain.rollouts.collect import Collector


def collecting(
    stage: Reinforcing, engine: BuiltinEngine, chat: Chat, prompts: Path, scorer: Scorer
) -> Collector:
    """Gives the batch of a step: answers to the rows of ``prompts``, as many as the stage and what its method
    wants ask for, scored.
    """
    from posttrain.engines.base import Sampling
    from posttrain.rollouts.collect import Collector
    from posttrain.storage.jsonl import RowsInFile

    wants = stage.method.wants
    return Collector(
        engine,
        chat,
        RowsInFile(prompts),
        scorer,
        Sampling(temperature=stage.temperature, max_tokens=stage.max_completion_length),
        prompts_per_step=stage.batch_shape[0],
        group_size=stage.batch_shape[1],
        greedy=wants.greedy,
        refills=wants.refills,
        informative=cast(Refilling, stage.method).informative if wants.refills else None,
        seed=stage.seed,
    )
