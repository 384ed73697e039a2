"""DeepSeek-R1-Zero (DeepSeek-AI 2025, section 2.2): group relative policy optimization with a verifiable
reward, straight from a base model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from posttrain.core.kl import KLInReward
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.recipes.instructgpt import adapter
from posttrain.recipes.presets import preset
from posttrain.rewards.constraints import ConstraintReward
from posttrain.rewards.protocol import RewardSource
from posttrain.rollouts.choosing import at_full_reward
from posttrain.rollouts.verified import CoinReward, ExactAnswer, ReadableAnswer
from posttrain.stages.problems import SumLines
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rl import Reinforcement
from posttrain.stages.sft import InstructionTuning
from posttrain.stages.solve import Solving


@dataclass(frozen=True, kw_only=True)
class Task:
    """Problems that suit a base, who verifies them, and settings that differ from the stages' own."""

    prompts: Stage
    reward: RewardSource
    form: RewardSource | None = None  # pays the form of an answer alone
    longest: int = 48
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)


def deepseek_r1_zero(seed: int = 0, model: str = "field_guide", controls: bool = True) -> Stage:
    """Base model, reinforcement with a verifiable reward, and how many held-out problems are solved.

    model: field_guide (sums as lines of a page, since its base has seen no chat) or smollm2 (prompts with
    constraints that a program checks). controls: the same reinforcement paid by a coin, and paid for the form
    of an answer alone; imitation of verified answers of the base, as many drawn as reinforcement draws.
    """
    chosen = preset(model, seed)
    task = _smollm2(seed, chosen.prompts) if model == "smollm2" else _sums(seed)
    learning: dict[str, Any] = {
        "method": GRPO(kl=KLInReward(coef=0.0)),
        "max_completion_length": task.longest,
        "lora": adapter(chosen.lora_rank),
        "seed": seed,
        **task.settings["rl"],
    }
    rl = Reinforcement(policy=chosen.base, reward=task.reward, prompts=task.prompts, **learning)
    return Solving(
        base=chosen.base,
        beside=_beside(rl, task, seed) if controls else (),
        final=rl,
        prompts=task.prompts,
        reward=task.reward,
        max_completion_length=task.longest,
        seed=seed,
        **task.settings.get("evaluate", {}),
    )


def _beside(rl: Reinforcement, task: Task, seed: int) -> tuple[Stage, ...]:
    """The two controls of the reward, and imitation with as many answers of the base."""
    found: list[Stage] = [
        replace(rl, name="random_control", reward=CoinReward(seed=seed), as_control=True),
    ]
    if task.form is not None:
        found.append(replace(rl, name="format_control", reward=task.form, as_control=True))
    prompts, size = rl.drawn
    verified = RejectionSampling(
        name="verified",
        policy=rl.policy,
        prompts=rl.prompts,
        reward=rl.reward,
        choose=at_full_reward,
        rows=max(rl.steps * prompts * size // 8, 1),
        answers=8,
        max_completion_length=rl.max_completion_length,
        seed=seed,
    )
    imitation: dict[str, Any] = {"lora": rl.lora, "seed": seed, **task.settings.get("sft", {})}
    sft = InstructionTuning(name="sft_verified", base=rl.policy, demonstrations=verified, **imitation)
    return (*found, sft)


def _sums(seed: int) -> Task:
    return Task(
        prompts=SumLines(seed=seed),
        reward=ExactAnswer(),
        form=ReadableAnswer(),
        longest=40,
        settings={
            "rl": {"steps": 60, "prompts_per_step": 32, "group_size": 8, "learning_rate": 5e-4},
            "sft": {"learning_rate": 5e-4, "epochs": 2},
        },
    )


def _smollm2(seed: int, prompts: Stage) -> Task:
    return Task(
        prompts=prompts,
        reward=ConstraintReward(),
        longest=40,
        settings={
            "rl": {"steps": 24, "prompts_per_step": 8, "group_size": 4, "learning_rate": 3e-4, "warmup": 3},
            "sft": {"learning_rate": 5e-4, "batch_size": 8},
            "evaluate": {"rows": 300, "often": 8, "often_rows": 30},
        },
    )
