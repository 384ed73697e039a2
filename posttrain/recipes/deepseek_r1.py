"""DeepSeek-R1 (DeepSeek-AI 2025, section 2.3): a cold start, reinforcement of reasoning, rejection sampling
at three parts of reasoning to one of anything else, instruction tuning of the base on both, reinforcement of
both.
"""

from __future__ import annotations

from typing import Any, cast

from posttrain.core.kl import KLInReward
from posttrain.cost.scale import Paper
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.presets import on_more_prompts, verifiable_world
from posttrain.recipes.tulu3 import verifiable
from posttrain.rewards.first_that_scores import FirstThatScores
from posttrain.rewards.learned import LearnedReward
from posttrain.rewards.weighted_sum import Weighted
from posttrain.rollouts.rejection_rules import at_full_reward
from posttrain.stages.contest import Contest
from posttrain.stages.demonstrations import ConstraintDemonstrations
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.mixture import Mixture, Source
from posttrain.stages.problems import WorkedAnswers
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning

PAPER = Paper(
    title="DeepSeek-AI 2025, 671B",
    scale=(
        ("cold_start", "thousands of long worked answers"),
        ("reasoning_rl", "GRPO, rewards by rules, until reasoning no longer gets better"),
        ("reasoning : general", "600 thousand : 200 thousand samples, 2 epochs from the base"),
        ("rl", "rules for reasoning, reward models for the rest"),
    ),
)
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "field_guide": {
        "cold_start": {"learning_rate": 5e-4, "epochs": 2},
        "reasoning_rl": {"steps": 40, "prompts_per_step": 32, "group_size": 8, "learning_rate": 3e-4},
        "reasoning": {"rows": 3000, "heldout": 200, "answers": 8, "keep": 12000},
        "rl": {"steps": 40, "prompts_per_step": 32, "group_size": 6, "learning_rate": 2.5e-4},
    },
    "smollm2": {
        "cold_start": {"learning_rate": 5e-4, "batch_size": 8},
        "reasoning_rl": {"steps": 8, "prompts_per_step": 8, "group_size": 4, "learning_rate": 2e-4},
        "reasoning": {"rows": 120, "heldout": 24, "answers": 4},
        "rl": {"steps": 8, "prompts_per_step": 8, "group_size": 4, "learning_rate": 2e-4},
    },
}


def deepseek_r1(  # size: one stage after another, each with what it is made from
    seed: int = 0, model: str = "field_guide"
) -> Stage:
    """Cold start, reasoning RL, rejection sampling, instruction tuning, mixed RL; each stage is measured, and
    beside them instruction tuning on general demonstrations alone.

    Parameters:
        seed: Seed of every stage.
        model: field_guide, or smollm2, whose problems and general prompts are both constraints.
    """
    if model not in SETTINGS:
        raise UserError(f"model={model}: expected one of {', '.join(SETTINGS)}")
    told = cast(HeldoutEvaluation, instructgpt(seed, verifiable_world(model)))
    general, judge = cast(InstructionTuning, told.sft), cast(RewardModeling, told.reward_model)
    problems, verifier = verifiable(model, seed, told.prompts)
    settings, longest = SETTINGS[model], told.max_completion_length
    shared: dict[str, Any] = {"lora": general.lora, "seed": seed}
    worked: Stage = WorkedAnswers(rows=2000, seed=seed)
    if model == "smollm2":
        worked = ConstraintDemonstrations(name="worked", rows=64, heldout=16, obeying=1.0, seed=seed)
    cold = InstructionTuning(
        name="cold_start", base=told.base, demonstrations=worked, **shared, **settings["cold_start"]
    )
    reasoning = Reinforcement(
        name="reasoning_rl",
        policy=cold,
        reward=verifier,
        prompts=problems,
        method=GRPO(kl=KLInReward(coef=0.0)),
        max_completion_length=longest,
        **shared,
        **settings["reasoning_rl"],
    )
    kept = RejectionSampling(
        name="reasoning",
        policy=reasoning,
        prompts=problems,
        reward=verifier,
        choose=at_full_reward,
        max_completion_length=longest,
        seed=seed,
        **settings["reasoning"],
    )
    both = Mixture(
        sources=(
            Source(name="reasoning", rows=kept, weight=3.0),
            Source(name="general", rows=general.demonstrations),
        ),
        seed=seed,
    )
    tuned = InstructionTuning(
        name="r1_sft",
        base=told.base,
        demonstrations=both,
        learning_rate=general.learning_rate,
        batch_size=general.batch_size,
        **shared,
    )
    deck = Mixture(
        name="deck",
        sources=(Source(name="problems", rows=problems), Source(name="general", rows=told.prompts)),
        seed=seed,
    )
    learned = LearnedReward(model=judge, missing_eos_penalty=1.0)
    final = Reinforcement(
        policy=tuned,
        reward=FirstThatScores(
            parts=(
                Weighted(name="verified", reward=verifier),
                Weighted(name="general", reward=learned),
            )
        ),
        prompts=deck,
        method=GRPO(kl=KLInReward(coef=0.05)),
        max_completion_length=longest,
        **shared,
        **settings["rl"],
    )
    return on_more_prompts(
        Contest(
            controls=(general,),
            policies=(cold, reasoning, tuned, final),
            prompts=told.prompts,
            problems=problems,
            verifier=verifier,
            max_completion_length=longest,
            seed=seed,
        )
    )
