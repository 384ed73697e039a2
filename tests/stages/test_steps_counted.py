"""What a bar and the lines of a stage count is a step: as its setting ``steps`` does, not each update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.environments.writing import Writing
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.ppo import PPO
from posttrain.stages.control import Control
from posttrain.stages.rl import Reinforcement
from tests.stages.test_instructgpt import recipe, save_llama


def lines(stage: Stage, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What each of the loops of a run would have told, at each of its updates, by the loop's name."""
    from posttrain.training import drive as module

    told: dict[str, list[str]] = {}
    real = module.progress

    def watched(items: Any, total: int, name: str, **more: Any) -> Any:
        found = told.setdefault(name, [])

        def note(text: Callable[[], str]) -> None:
            found.append(text().partition(",")[0])

        return real(items, total, name, **{**more, "quiet": True, "note": note})

    monkeypatch.setattr(module, "progress", watched)
    run(stage, Workspace(workspace), Machine(quiet=True), accept=None, say=lambda text: None)
    return told


def test_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Control(environment=Writing(), method=PPO(epochs=2, minibatches=2), steps=3, starts=4)
    told = lines(stage, tmp_path, monkeypatch)["rl"]
    assert told == [f"{n} of 3 steps" for n in (1, 1, 1, 1, 2, 2, 2, 2, 3)]


def test_reinforcement_and_the_stages_that_read_records(
    tmp_path: Path, letters: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = recipe(save_llama(tmp_path / "model", letters)).final
    assert isinstance(final, Reinforcement)
    final = replace(final, method=PPO(epochs=1, minibatches=2), steps=2)
    told = lines(final, tmp_path / "work", monkeypatch)
    assert told["rl"] == ["1 of 2 steps", "1 of 2 steps", "2 of 2 steps"]
    for name in ("sft", "rm"):
        assert told[name] == [f"{n} of {len(told[name])} steps" for n in range(1, len(told[name]) + 1)]
