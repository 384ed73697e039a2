"""Tulu 3 (Lambert et al. 2024): instruction tuning, preferences on the policy's own answers with
length-normalised DPO, then reinforcement with verifiable rewards.
"""

from __future__ import annotations

from dataclasses import replace

from posttrain.core.kl import KLInReward
from posttrain.cost.scale import Paper
from posttrain.direct_alignment.dpo import DPO
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.recipes.instructgpt_stages import embedded_stages
from posttrain.recipes.own_data import (
    JUDGE_SHARE,
    TEMPERED,
    OwnData,
    from_own_data,
    need_comparisons,
    with_finished_sft,
)
from posttrain.recipes.presets import known_problems, on_more_prompts, verifiable_world, verified_by
from posttrain.rewards.base import RewardSource
from posttrain.rewards.constraints import Constraints
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.settings import with_overrides, with_settings
from posttrain.stages.alignment import Alignment
from posttrain.stages.contest import Contest
from posttrain.stages.mixture import Mixture, Source
from posttrain.stages.problems import Questions, WorkedAnswers
from posttrain.stages.rl import Reinforcement
from posttrain.stages.sft import InstructionTuning

PAPER = Paper(
    title="Lambert et al. 2024, 8B",
    scale=(
        ("sft", "939 thousand demonstrations, 2 epochs"),
        ("alignment", "about 270 thousand pairs, on-policy and off-policy, 1 epoch; beta 5 per token"),
        ("rl", "29,946 prompts: GSM8K, MATH and verifiable constraints; PPO"),
    ),
)
PER_TOKEN = DPO(beta=5.0, length_normalised=True)
VERIFIED = GRPO(kl=KLInReward(coef=0.05))
# by the embedded model
OVERRIDES = {
    "field_guide": """
        worked.rows=2000 pairs.rows=2000 pairs.answers=3 alignment.learning_rate=1.4e-4
        rl.steps=40 rl.prompts_per_step=24 rl.group_size=8 rl.learning_rate=2.5e-4
    """,
    "smollm2": """
        pairs.rows=480 pairs.heldout=120 alignment.learning_rate=2e-4 alignment.compute=bfloat16
        rl.steps=48 rl.prompts_per_step=8 rl.group_size=4 rl.learning_rate=4e-4 rl.compute=bfloat16
    """,
}


def tulu3(  # size: the recipe's parameters, each a word on the command line
    seed: int = 0,
    model: str = "field_guide",
    problems: str = "",
    verifier: str = "",
    base: str = "",
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    lora: int = -1,
    sft: str = "",
    judge_share: float = JUDGE_SHARE,
) -> Stage:
    """Base model, instruction tuning, on-policy preference pairs, DPO, RLVR, and every stage measured.

    With base your model learns from your files alone: it is tuned first where there are demonstrations,
    aligned with your comparisons as they are, and paid for your problems.

    Parameters:
        seed: Seed of every stage.
        model: field_guide (sums to work out and words to reverse are its verifiable problems) or smollm2
            (constraints that a program checks).
        problems: Your rows {"prompt", "answer"} instead; or reasoning_gym:TASK,TASK.
        verifier: What pays for answers and counts what is solved: a file of posttrain/rewards, such as
            math_answer or code_tests. Your problems have final_answer where none is named.
        base: Your own model: a directory or a name on the hub; it learns from your files alone.
        demonstrations: Your rows {"messages": [...]}: a file, or a data set on the hub; the base is tuned on
            them first.
        comparisons: Your rows {"prompt", "chosen", "rejected"}.
        prompts: Your rows {"prompt"}; without them those of the comparisons are asked.
        lora: Rank of the adapters that are trained; 0 trains every weight, -1 is the model's own default.
        sft: A tuned model to begin at, in place of tuning the base: a directory or a name
            on the hub.
        judge_share: Share of your comparisons that trains a judge for the report in place of the policy; 0
            makes none.
    """
    if base:
        need_comparisons("tulu3", comparisons)
        if not problems:
            raise UserError(
                "tulu3 on a model of your own needs problems of yours too: give problems=FILE, rows {prompt, "
                "answer}; without any, posttrain run dpo stops at the preferences"
            )
        data = from_own_data(
            seed,
            base,
            lora,
            model=model,
            sft=sft,
            demonstrations=demonstrations,
            comparisons=comparisons,
            prompts=prompts,
            judge_share=judge_share,
        )
        return _on_own_data(data, problems, verifier)
    files = {"demonstrations": demonstrations, "comparisons": comparisons, "prompts": prompts}
    if given := [f"{name}=" for name, file in files.items() if file] + ["lora="] * (lora >= 0):
        raise UserError(f"tulu3 takes {', '.join(given)} beside a model of your own: give base=DIR_OR_HUB_ID")
    if model not in OVERRIDES:
        raise UserError(f"model={model}: expected one of {', '.join(OVERRIDES)}")
    stages = embedded_stages(seed, verifiable_world(model))
    evaluate, tuned = stages.evaluate, stages.sft
    if model == "field_guide":  # sums and reversed words are no part of its demonstrations
        tuned = _skilled(tuned, seed)
    aligned = Alignment(
        policy=tuned,
        comparisons=replace(stages.labels, pairs=replace(stages.pairs, policy=tuned)),
        method=PER_TOKEN,
        batch_size=stages.rm.batch_size,
        max_length=stages.rm.max_length,
        lora=tuned.lora,
        seed=seed,
    )
    asked, pays = known_problems(problems, seed) if problems else verifiable(model, seed, evaluate.prompts)
    pays = verified_by(verifier, pays)
    rl = Reinforcement(
        policy=aligned,
        reward=pays,
        prompts=asked,
        method=VERIFIED,
        max_completion_length=evaluate.max_completion_length,
        lora=tuned.lora,
        seed=seed,
    )
    compared = Contest(
        policies=(tuned, aligned, rl),
        prompts=evaluate.prompts,
        problems=asked,
        verifier=pays,
        max_completion_length=evaluate.max_completion_length,
        seed=seed,
    )
    return with_finished_sft(on_more_prompts(with_overrides(compared, OVERRIDES[model])), sft)


def _on_own_data(data: OwnData, problems: str, verifier: str) -> Stage:
    """Direct alignment on the user's own comparisons, then reinforcement on the user's problems."""
    assert data.labels is not None  # comparisons were needed
    asked, pays = known_problems(problems, data.seed)
    asked, pays = replace(asked, name="problems"), verified_by(verifier, pays)
    aligned = data.aligned(data.labels, PER_TOKEN)
    rl = Reinforcement(
        policy=aligned,
        reward=pays,
        prompts=asked,
        method=VERIFIED,
        learning_rate=data.rate / TEMPERED,
        lora=data.lora,
        seed=data.seed,
    )
    rl = with_settings(rl, data.sizes.rlvr, data.sizes.reasoning)
    compared = replace(data.compared(aligned, rl), problems=asked, verifier=pays)
    return with_settings(compared, data.sizes.reasoning)


def _skilled(sft: InstructionTuning, seed: int) -> InstructionTuning:
    """Instruction tuning on demonstrations of the skills to be reinforced beside those of everything else."""
    sources = (
        Source(name="general", rows=sft.demonstrations, weight=3.0),
        Source(name="worked", rows=WorkedAnswers(seed=seed)),
    )
    return replace(sft, demonstrations=Mixture(sources=sources, seed=seed))


def verifiable(model: str, seed: int, prompts: Stage) -> tuple[Stage, RewardSource]:
    """Problems of a model's world, and who verifies their answers."""
    if model == "smollm2":
        return prompts, Constraints()
    return Questions(heldout=800, known_wordings=True, seed=seed), ExactAnswer()
