"""Reinforcement by every method's name, on a model of a few thousand weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from posttrain.models.loading import load_causal_lm, save_causal_lm
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.on_policy_distillation import OnPolicyDistillation
from posttrain.policy_gradients.ppo import PPO
from posttrain.rewards.length import Length
from posttrain.settings import expression, parse
from posttrain.stages.base import ExistingModel
from posttrain.stages.rl import Reinforcement
from tests.stages.test_instructgpt import make, recipe, save_llama

FOLDER = Path(__file__).resolve().parents[2] / "posttrain" / "policy_gradients"
METHODS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "base"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    return save_llama(tmp_path_factory.mktemp("model"), letters)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


def reinforcement(source: Path, *wishes: str) -> Reinforcement:
    def small() -> Stage:
        return recipe(source).final

    found = expression(small, parse(wishes))
    assert isinstance(found, Reinforcement)
    return found


@pytest.mark.parametrize(
    "name",
    [name for name in METHODS if name != "on_policy_distillation"],
)
def test_a_method_runs_by_its_name(name: str, source: Path, workspace: Path) -> None:
    stage = reinforcement(source, f"rl.method={name}")
    product = make(stage, workspace).products["rl"]
    episodes = [json.loads(line) for line in (product.path / "episodes.jsonl").open()]
    assert product.values["kl_start"] == 0.0
    assert product.values.get("ratio_start", 1.0) == 1.0
    assert product.values["updates"] == 2 * stage.method.epochs * stage.method.minibatches
    assert len(episodes) == 16
    wants = stage.method.wants
    assert len({(row["step"], row["group"]) for row in episodes}) == (
        4 if wants.group or wants.whole_groups else 16
    )
    assert (product.path / "critic").is_dir() == wants.values


def test_what_methods_share_is_no_choice(source: Path) -> None:
    with pytest.raises(UserError, match=r"rl\.method=base: no such choice") as caught:
        reinforcement(source, "rl.method=base")
    assert " base," not in str(caught.value)


def test_the_rates_fall_over_all_updates_and_the_critic_has_its_own(source: Path, workspace: Path) -> None:
    stage = reinforcement(source, "rl.method=ppo")
    product = make(stage, workspace).products["rl"]
    lines = [json.loads(line) for line in (product.path / "metrics.jsonl").open()]
    rates = [line["learning_rate/policy"] / stage.learning_rate for line in lines]
    assert len(rates) == 8 > stage.steps
    assert [line["learning_rate/critic"] for line in lines] == pytest.approx(
        [rate * stage.critic_learning_rate for rate in rates]
    )
    assert stage.critic_learning_rate != stage.learning_rate
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])  # a quarter of the updates is warm-up
    assert rates[2:] == pytest.approx([1 - 0.9 * update / 6 for update in range(6)])


def test_dapo_asks_others_where_a_step_has_nothing_to_learn_from(source: Path, workspace: Path) -> None:
    """No answer is as long as is paid for, so every group is as good as empty."""
    asked, unpaid = [], Length(shortest=200, longest=256, margin=1)
    for refills in (0, 1):
        stage = reinforcement(source, "rl.method=dapo", f"rl.method.refills={refills}", "rl.steps=1")
        product = make(replace(stage, reward=unpaid), workspace).products["rl"]
        asked.append(len((product.path / "episodes.jsonl").read_text().splitlines()))
    assert asked == [8, 16]


def test_a_run_says_whose_gradient_its_kl_has(
    source: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = reinforcement(source, "rl.method=grpo", "rl.method.kl.estimator=k2", "rl.steps=1")
    notes = make(stage, workspace).products["rl"].report.notes
    assert notes[0].startswith("kl: KLInLoss(k2, coef=0.04): gradient is that of each step's KL(policy||ref")
    assert capsys.readouterr().out == ""  # made quietly


@pytest.mark.parametrize("kl", ["kl_exact", "kl_in_loss", "kl_in_reward"])
def test_kl_is_placed_by_name(kl: str, source: Path, workspace: Path) -> None:
    stage = reinforcement(source, "rl.method=rloo", f"rl.method.kl={kl}", "rl.method.kl.coef=0.2")
    product = make(stage, workspace).products["rl"]
    metrics = [json.loads(line) for line in (product.path / "metrics.jsonl").open()]
    assert ("kl_loss" in metrics[0]) == (kl != "kl_in_reward")
    assert product.values["kl_start"] == 0.0


def test_a_group_size_is_taken_as_it_is_said(source: Path) -> None:
    assert reinforcement(source).batch_shape == (8, 1)
    assert reinforcement(source, "rl.method=rloo").batch_shape == (2, 4)
    assert reinforcement(source, "rl.method=rloo", "rl.group_size=2").batch_shape == (8, 2)


@pytest.mark.parametrize("name", ["grpo", "online_dpo"])
def test_a_group_of_one_is_refused_before_anything_is_made(name: str, source: Path) -> None:
    with pytest.raises(UserError, match=r"compares answers.*group_size is 1"):
        reinforcement(source, f"rl.method={name}", "rl.group_size=1")


def distilled(source: Path, teacher: Path, **changed: Any) -> Reinforcement:
    known = ExistingModel(name="teacher", source=SourceFile(str(teacher)))
    plain = reinforcement(source)
    return replace(plain, method=OnPolicyDistillation(), teacher=known, **changed)


def test_a_student_comes_nearer_to_its_teacher(source: Path, workspace: Path, tmp_path: Path) -> None:
    teacher, tokenizer = load_causal_lm(source)
    with torch.no_grad():
        teacher.get_output_embeddings().weight.mul_(4)  # surer of everything, so that there is a way to go
    save_causal_lm(tmp_path / "teacher", teacher, tokenizer)
    stage = distilled(source, tmp_path / "teacher", steps=12, learning_rate=2e-3, prompts_per_step=16)
    made = run(
        stage,
        Workspace(workspace),
        Machine(quiet=True, micro_batch_tokens=512),
        accept=("sft_learned", "rm_above_chance"),
        say=lambda text: None,
    )
    report = made.products["rl"].report
    assert float(report.values["kl_final"]) < float(report.values["kl_start"])
    assert [gate.name for gate in stage.gates(report)] == ["rl_nearer_the_teacher"]


def test_a_teacher_is_given_to_who_distils_and_to_nobody_else(source: Path) -> None:
    with pytest.raises(UserError, match=r"learns from a teacher.*teacher=DIR"):
        reinforcement(source, "rl.method=on_policy_distillation")
    with pytest.raises(UserError, match="PPO learns from no teacher"):
        replace(distilled(source, source), method=PPO())


def test_an_unknown_estimator_is_named_with_what_there_is(source: Path) -> None:
    with pytest.raises(UserError, match=r"k4.*k1, k2, k3"):
        reinforcement(source, "rl.method.kl.estimator=k4")
