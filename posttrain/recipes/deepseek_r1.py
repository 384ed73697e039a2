"""DeepSeek-R1 (DeepSeek-AI 2025, section 2.3): a cold start, reinforcement of reasoning, rejection sampling
at three parts of reasoning to one of anything else, instruction tuning of the base on both, reinforcement of
both.
"""

from __future__ import annotations

from posttrain.core.kl import KLInReward
from posttrain.cost.scale import Paper
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.recipes.instructgpt_stages import embedded_stages, learned_reward
from posttrain.recipes.presets import on_more_prompts, verifiable_world
from posttrain.recipes.tulu3 import verifiable
from posttrain.rewards.first_that_scores import FirstThatScores
from posttrain.rewards.weighted_sum import Weighted
from posttrain.rollouts.rejection_rules import at_full_reward
from posttrain.settings import with_overrides
from posttrain.stages.contest import Contest
from posttrain.stages.demonstrations import ConstraintDemonstrations
from posttrain.stages.mixture import Mixture, Source
from posttrain.stages.problems import WorkedAnswers
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rl import Reinforcement
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
# by the embedded model
OVERRIDES = {
    "field_guide": """
        cold_start.learning_rate=5e-4 cold_start.epochs=2
        reasoning_rl.steps=40 reasoning_rl.prompts_per_step=32 reasoning_rl.group_size=8
        reasoning_rl.learning_rate=3e-4
        reasoning.rows=3000 reasoning.heldout=200 reasoning.answers=8 reasoning.keep=12000
        rl.steps=40 rl.prompts_per_step=32 rl.group_size=6 rl.learning_rate=2.5e-4
    """,
    "smollm2": """
        cold_start.learning_rate=5e-4 cold_start.batch_size=8
        reasoning_rl.steps=8 reasoning_rl.prompts_per_step=8 reasoning_rl.group_size=4
        reasoning_rl.learning_rate=2e-4
        reasoning.rows=120 reasoning.heldout=24 reasoning.answers=4
        rl.steps=8 rl.prompts_per_step=8 rl.group_size=4 rl.learning_rate=2e-4
    """,
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
    if model not in OVERRIDES:
        raise UserError(f"model={model}: expected one of {', '.join(OVERRIDES)}")
    stages = embedded_stages(seed, verifiable_world(model))
    general, prompts = stages.sft, stages.evaluate.prompts
    problems, verifier = verifiable(model, seed, prompts)
    longest = stages.evaluate.max_completion_length
    worked: Stage = WorkedAnswers(rows=2000, seed=seed)
    if model == "smollm2":
        worked = ConstraintDemonstrations(name="worked", rows=64, heldout=16, obeying=1.0, seed=seed)
    cold = InstructionTuning(
        name="cold_start", base=general.base, demonstrations=worked, lora=general.lora, seed=seed
    )
    reasoning = Reinforcement(
        name="reasoning_rl",
        policy=cold,
        reward=verifier,
        prompts=problems,
        method=GRPO(kl=KLInReward(coef=0.0)),
        max_completion_length=longest,
        lora=general.lora,
        seed=seed,
    )
    verified = RejectionSampling(
        name="reasoning",
        policy=reasoning,
        prompts=problems,
        reward=verifier,
        choose=at_full_reward,
        max_completion_length=longest,
        seed=seed,
    )
    both = Mixture(
        sources=(
            Source(name="reasoning", rows=verified, weight=3.0),
            Source(name="general", rows=general.demonstrations),
        ),
        seed=seed,
    )
    tuned = InstructionTuning(
        name="r1_sft",
        base=general.base,
        demonstrations=both,
        learning_rate=general.learning_rate,
        batch_size=general.batch_size,
        lora=general.lora,
        seed=seed,
    )
    deck = Mixture(
        name="deck",
        sources=(Source(name="problems", rows=problems), Source(name="general", rows=prompts)),
        seed=seed,
    )
    final = Reinforcement(
        policy=tuned,
        reward=FirstThatScores(
            parts=(
                Weighted(name="verified", reward=verifier),
                Weighted(name="general", reward=learned_reward(stages.rm)),
            )
        ),
        prompts=deck,
        method=GRPO(kl=KLInReward(coef=0.05)),
        max_completion_length=longest,
        lora=general.lora,
        seed=seed,
    )
    compared = Contest(
        controls=(general,),
        policies=(cold, reasoning, tuned, final),
        prompts=prompts,
        problems=problems,
        verifier=verifier,
        max_completion_length=longest,
        seed=seed,
    )
    return on_more_prompts(with_overrides(compared, OVERRIDES[model]))
