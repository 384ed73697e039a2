"""Every stage with a loop or with chunks, killed at each of its saves, makes what it would have made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.kto import KTO
from posttrain.environments.cartpole import CartPole
from posttrain.models.language_policy import LanguagePolicy
from posttrain.models.lora import Lora
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Stage, addresses
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.rewards.length import Length, LengthScorer
from posttrain.rollouts import batched_eval, sample
from posttrain.rollouts.online_reward import Comparisons
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.control import Control
from posttrain.stages.demonstrations import FieldGuideDemonstrations
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.pairs import ComparisonPairs
from posttrain.stages.prompts import FieldGuidePrompts
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from posttrain.storage import chunks
from posttrain.training.kl_control import AdaptiveKL
from tests.killed import Fire, Killed, killed_at_every_save
from tests.stages.test_instructgpt import save_llama

COMPARED = Comparisons(
    most=60, at_first=20, each_step=8, length=10, updates=0.3, batch_size=8, every=2, normalised=True
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((chunks, "ROWS"), (batched_eval, "ROWS"), (sample, "ANSWERS")):
        monkeypatch.setattr(module, name, 12)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Stage:
    return ExistingModel(source=SourceFile(str(save_llama(tmp_path_factory.mktemp("model"), letters))))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{i} {q}"}],
            "chosen": [{"role": "assistant", "content": "a" * (1 + i % 3)}],
            "rejected": [{"role": "assistant", "content": "b" * (1 + i % 4)}],
        }
        for i in range(12)
        for q in ("who", "why")
    ]
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return ComparisonRows(source=SourceFile(str(path), "datasets"), heldout_share=0.2)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


def fire(stage: Stage, workspace: Workspace, directory: Path) -> Fire:
    """The stage with what it reads, which is made before."""

    def product(child: Stage) -> Any:
        made = run(child, workspace, Machine(quiet=True), accept=None, say=lambda text: None)
        return made.products[{id(one): address for address, one in addresses(child).items()}[id(child)]]

    return Fire(stage, Inputs.gather(stage, product), directory)


def aligned(source: Stage, compared: Stage, method: Any) -> Alignment:
    sizes: dict[str, Any] = {"learning_rate": 1e-2, "batch_size": 8, "warmup": 0, "decay_to_start": 30.0}
    return Alignment(policy=source, comparisons=compared, method=method, **sizes)


@pytest.mark.parametrize(
    "settings",
    [
        {"comparisons": COMPARED, "average": 0.9, "scale_rewards": True},
        {
            "comparisons": replace(COMPARED, zero_untrained=True, first_plays=10, most=60),
            "learning_rate": 0.1,
        },
        {"normalise": True, "scale_rewards": True, "least_steps": 60},
    ],
    ids=["preferences", "zero-untrained", "normalised"],
)
def test_play(settings: dict[str, Any], tmp_path: Path) -> None:
    stage = Control(
        environment=CartPole(limit=30, absorbing="comparisons" in settings),
        method=PPO(epochs=2, minibatches=2),
        steps=5,
        starts=3,
        hidden=(8,),
        seed=3,
        **settings,
    )
    assert killed_at_every_save(Fire(stage, Inputs({}), tmp_path)) == 5


@pytest.mark.parametrize("method", [DPO(), KTO()], ids=lambda method: type(method).__name__)
def test_direct_alignment(
    method: Any, source: Stage, compared: Stage, workspace: Workspace, tmp_path: Path
) -> None:
    stage = aligned(source, compared, method)
    assert killed_at_every_save(fire(stage, workspace, tmp_path)) >= 3 + 3  # chunks, and updates


def test_what_was_read_before_a_kill_is_not_read_again(
    source: Stage, compared: Stage, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are made tokens and the reference is read once, though no update had been made."""
    under_fire = fire(aligned(source, compared, DPO()), workspace, tmp_path)
    with pytest.raises(Killed):
        under_fire.start("one", kill_at=6)
    read, evaluate = [0], LanguagePolicy.evaluate

    def counting(policy: LanguagePolicy, rollouts: Any, wants: Any, *more: Any) -> Any:
        read[0] += wants == batched_eval.LOGPROBS
        return evaluate(policy, rollouts, wants, *more)

    def encode(*_: Any) -> Any:
        raise AssertionError("a row is made tokens again")

    monkeypatch.setattr(LanguagePolicy, "evaluate", counting)
    monkeypatch.setattr("posttrain.rollouts.encode.encode_answer", encode)
    under_fire.start("one")
    held_out = 1  # after training
    assert read[0] == held_out


def test_instruction_tuning(source: Stage, workspace: Workspace, tmp_path: Path) -> None:
    demonstrations = FieldGuideDemonstrations(rows=24, heldout=8, seed=3)
    stage = InstructionTuning(base=source, demonstrations=demonstrations, epochs=1, batch_size=8)
    assert killed_at_every_save(fire(stage, workspace, tmp_path)) >= 3 + 3


def test_reward_modeling(source: Stage, compared: Stage, workspace: Workspace, tmp_path: Path) -> None:
    more: dict[str, Any] = {"mismatched": 0.5, "sft_coef": 0.1, "batch_size": 8, "epochs": 1}
    stage = RewardModeling(base=source, comparisons=compared, **more)
    assert killed_at_every_save(fire(stage, workspace, tmp_path)) >= 3 + 3


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_reinforcement(name: str, source: Stage, workspace: Workspace, tmp_path: Path) -> None:
    method: Any = PPO(epochs=2, minibatches=2) if name == "ppo" else GRPO(epochs=2, minibatches=2)
    stage = Reinforcement(
        policy=source,
        critic=source if name == "ppo" else None,
        reward=Length(),
        prompts=FieldGuidePrompts(rows=40, seed=3),
        method=method,
        control=AdaptiveKL(target=0.1, horizon=20),
        lora=Lora(rank=2) if name == "grpo" else None,
        average=0.9,
        decay_to_start=1.0,
        steps=3,
        prompts_per_step=8,
        max_completion_length=8,
    )
    assert killed_at_every_save(fire(stage, workspace, tmp_path)) == 3


def answering(source: Stage, **changed: Any) -> RejectionSampling:
    sizes: dict[str, Any] = {"rows": 12, "heldout": 4, "answers": 4, "max_completion_length": 32}
    prompts = FieldGuidePrompts(rows=40, seed=3)
    return RejectionSampling(policy=source, prompts=prompts, reward=Length(), **sizes | changed)


def test_rejection_sampling(
    source: Stage, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reward judged before a kill is not judged again: it might be judged otherwise."""
    judged: list[int] = []
    score = LengthScorer.score

    def counting(scorer: LengthScorer, episodes: Any) -> Any:
        judged.extend(episode.seed for episode in episodes)
        return score(scorer, episodes)

    monkeypatch.setattr(LengthScorer, "score", counting)
    under_fire = fire(answering(source), workspace, tmp_path)
    under_fire.start("once")
    assert len(set(judged)) == len(judged) == 64
    judged.clear()
    with pytest.raises(Killed):
        under_fire.start("killed", kill_at=4)
    under_fire.start("killed")
    assert len(set(judged)) == len(judged) == 64
    assert killed_at_every_save(under_fire) == 6


def test_answers_do_not_depend_on_the_size_of_a_chunk(
    source: Stage, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ComparisonPairs(
        policy=source,
        prompts=FieldGuidePrompts(rows=40, seed=3),
        rows=12,
        heldout=4,
        answers=3,
        max_completion_length=6,
    )
    under_fire = fire(stage, workspace, tmp_path)
    made = []
    for size in (3, 12, 512):
        monkeypatch.setattr(sample, "ANSWERS", size)
        made.append(under_fire.start(f"chunks-of-{size}"))
    assert made[0] == made[1] == made[2]
    assert killed_at_every_save(under_fire) == 2
