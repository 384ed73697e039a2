"""A run whose answers are all paid the same ends early, and its gate says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.pipeline.store import Product, Workspace
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.reinforce import Reinforce
from posttrain.rewards.base import Episode, Rewards
from posttrain.stages.rl import Reinforcement
from tests.stages.test_instructgpt import recipe, save_llama


@dataclass(frozen=True)
class PaysFrom:
    """0 until the weights of ``version`` answer, then every other answer 1."""

    version: int
    by_place = True

    @contextmanager
    def open(self, inputs: Inputs, machine: Machine) -> Iterator[PaysFrom]:
        yield self

    def lacks(self, prompt: Mapping[str, object]) -> str:
        return ""

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        paid = [float(e.version >= self.version and n % 2) for n, e in enumerate(episodes)]
        return Rewards(values=torch.tensor(paid), scored=torch.ones(len(paid), dtype=torch.bool))


@pytest.fixture
def stage(tmp_path: Path, letters: PreTrainedTokenizerFast) -> Reinforcement:
    final = recipe(save_llama(tmp_path / "model", letters)).final
    assert isinstance(final, Reinforcement)
    return replace(final, method=Reinforce(), critic=None, steps=14, prompts_per_step=4)


def made(stage: Reinforcement, workspace: Path) -> Product:
    record = run(stage, Workspace(workspace), Machine(quiet=True), accept=None, say=lambda text: None)
    return record.products["rl"]


@pytest.mark.parametrize("method", [Reinforce(), GRPO()])
def test_ends_after_ten_steps(stage: Reinforcement, tmp_path: Path, method: Reinforce | GRPO) -> None:
    stage = replace(stage, method=method, reward=PaysFrom(99))
    product = made(stage, tmp_path / "work")
    assert product.values["steps"] == 10
    assert "Ended after 10 steps: all answers were paid the same." in product.report.notes
    with pytest.raises(UserError, match="rl_reward_varies"):
        run(stage, Workspace(tmp_path / "work"), Machine(quiet=True), say=lambda text: None)


def test_a_run_that_was_to_end_sooner_is_stopped_as_well(stage: Reinforcement, tmp_path: Path) -> None:
    """Else the recipe would go on with a policy that learned nothing."""
    with pytest.raises(UserError, match="in 100% of the"):
        run(
            replace(stage, reward=PaysFrom(99), flat_steps=3),
            Workspace(tmp_path / "work"),
            Machine(quiet=True),
            say=lambda text: None,
        )


def test_one_step_that_differs_keeps_it_going(stage: Reinforcement, tmp_path: Path) -> None:
    assert made(replace(stage, reward=PaysFrom(9)), tmp_path / "work").values["steps"] == 14


@pytest.mark.parametrize("change", [{"flat_steps": 0}, {"as_control": True}])
def test_goes_on_where_that_is_asked_or_a_control(
    stage: Reinforcement, tmp_path: Path, change: dict[str, bool]
) -> None:
    assert made(replace(stage, reward=PaysFrom(99), **change), tmp_path / "work").values["steps"] == 14  # type: ignore[arg-type]
