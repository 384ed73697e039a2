"""DeepSeek-R1-Zero (DeepSeek-AI 2025, section 2.2): group relative policy optimization with a verifiable
reward, straight from a base model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from posttrain.core.kl import KLInReward
from posttrain.cost.scale import Paper
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.recipes.own_data import TEMPERED, OwnData, from_own_data
from posttrain.recipes.presets import (
    Evidence,
    adapter,
    known_problems,
    preset,
    verifiable_world,
    verified_by,
    with_controls,
)
from posttrain.rewards.base import RewardSource
from posttrain.rewards.coin_reward import CoinReward
from posttrain.rewards.constraints import Constraints
from posttrain.rewards.exact_answer import ExactAnswer
from posttrain.rewards.final_answer import FinalAnswer
from posttrain.rewards.readable_answer import ReadableAnswer
from posttrain.rollouts.rejection_rules import at_full_reward
from posttrain.settings import with_settings
from posttrain.stages.before_chat import BeforeChat
from posttrain.stages.problems import SumLines
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rl import Reinforcement
from posttrain.stages.sft import InstructionTuning
from posttrain.stages.solve import Solving

PAPER = Paper(
    title="DeepSeek-AI 2025, 671B",
    scale=(
        ("rl", "about 10 thousand steps of 32 questions, 16 answers each; up to 32,768 tokens, later 65,536"),
        ("reward", "accuracy by rules, and format by rules"),
    ),
)
COIN = "random_control: the same reinforcement paid by a coin"
FORM = "format_control: the same paid for the form of an answer alone"
LONGEST = 40  # tokens of an answer of the embedded models
IMITATED = "sft_verified: imitation of verified answers of the base, as many drawn as reinforcement draws"


@dataclass(frozen=True, kw_only=True)
class Task:
    """Problems that suit a base, who verifies them, and settings of stages, texts for ``with_settings``."""

    prompts: Stage
    reward: RewardSource
    form: RewardSource | None = None  # pays the form of an answer alone
    rl: str = ""
    imitation: str = ""
    evaluate: str = ""


def deepseek_r1_zero(  # size: the recipe's parameters, each a word on the command line
    seed: int = 0,
    model: str = "field_guide",
    base: str = "",
    problems: str = "",
    verifier: str = "",
    lora: int = -1,
    evidence: Evidence = "quick",
) -> Stage:
    """Base model, reinforcement with a verifiable reward, and how many held-out problems are solved.

    Parameters:
        seed: Seed of every stage.
        model: field_guide (sums as lines of a page, since its base has seen no chat) or smollm2 (prompts with
            constraints that a program checks).
        base: Your own model instead: a directory or a name on the hub.
        problems: Your rows {"prompt", "answer"}, with "stop" in a row plain text to go on with; or
            reasoning_gym:TASK,TASK.
        verifier: What pays for answers and counts what is solved: a file of posttrain/rewards, such as
            math_answer or code_tests. Your problems have final_answer where none is named.
        lora: Rank of the adapters that are trained; 0 trains every weight, -1 is the model's own default.
        evidence: full adds three controls: the same reinforcement paid by a coin, and paid for the form of an
            answer alone, and imitation of verified answers of the base.
    """
    if base and not problems:
        raise UserError(
            "a model of your own needs problems of yours: give problems=FILE, rows {prompt, answer}"
        )
    data = from_own_data(seed, base, lora, model=model) if base else None
    chosen = preset(verifiable_world(model), seed)
    checked = verifiable_world(model) == "smollm2_constraints"
    task = _smollm2(chosen.prompts) if checked else _sums(seed)
    if problems:
        rows, pays = known_problems(problems, seed)
        task = replace(task, prompts=rows, reward=pays, form=None)
    task = replace(task, reward=verified_by(verifier, task.reward))
    if problems and isinstance(task.reward, ExactAnswer | FinalAnswer):
        task = replace(task, form=ReadableAnswer())
    start = BeforeChat(base=chosen.base) if model == "field_guide" else chosen.base
    adapters = adapter(chosen.lora_rank if lora < 0 else lora)
    if data is not None:
        start, adapters, task = data.policy, data.lora, _suiting(task, data)
    rl = Reinforcement(
        policy=start,
        reward=task.reward,
        prompts=task.prompts,
        method=GRPO(kl=KLInReward(coef=0.0)),
        max_completion_length=LONGEST,
        lora=adapters,
        seed=seed,
    )
    rl = with_settings(rl, task.rl)
    full = with_controls(evidence)
    missing = (COIN, FORM, IMITATED) if task.form is not None else (COIN, IMITATED)
    solved = Solving(
        base=start,
        beside=_beside(rl, task, seed) if full else (),
        final=rl,
        prompts=task.prompts,
        reward=task.reward,
        max_completion_length=LONGEST,
        seed=seed,
        left_out=() if full else missing,
    )
    return with_settings(solved, task.evaluate)


def _suiting(task: Task, data: OwnData) -> Task:
    """The task with the settings of a user's model."""
    return replace(
        task,
        rl=f"learning_rate={data.rate / TEMPERED} {data.sizes.zero} {data.sizes.reasoning}",
        imitation=f"learning_rate={data.rate} {data.sizes.fitting}",
        evaluate=f"{data.sizes.solve} {data.sizes.reasoning}",
    )


def _beside(rl: Reinforcement, task: Task, seed: int) -> tuple[Stage, ...]:
    """The two controls of the reward, and imitation with as many answers of the base."""
    controls: list[Stage] = [
        replace(rl, name="random_control", follows="rl", reward=CoinReward(seed=seed), as_control=True),
    ]
    if task.form is not None:
        controls.append(replace(rl, name="format_control", follows="rl", reward=task.form, as_control=True))
    verified = RejectionSampling(
        name="verified",
        follows="rl",
        policy=rl.policy,
        prompts=rl.prompts,
        reward=rl.reward,
        choose=at_full_reward,
        answers=8,
        max_completion_length=rl.max_completion_length,
        seed=seed,
    ).as_many_as(rl)
    sft = InstructionTuning(
        name="sft_verified", base=rl.policy, demonstrations=verified, lora=rl.lora, seed=seed
    )
    return (*controls, with_settings(sft, task.imitation))


def _sums(seed: int) -> Task:
    return Task(
        prompts=SumLines(seed=seed),
        reward=ExactAnswer(),
        form=ReadableAnswer(),
        rl="steps=60 prompts_per_step=32 group_size=8 learning_rate=5e-4",
        imitation="learning_rate=5e-4 epochs=2",
    )


def _smollm2(prompts: Stage) -> Task:
    return Task(
        prompts=prompts,
        reward=Constraints(whole=0.5),
        rl="""
            method.kl.coef=0.003 steps=96 prompts_per_step=8 group_size=4 learning_rate=4e-4 compute=bfloat16
        """,
        imitation="learning_rate=5e-4 batch_size=8 compute=bfloat16",
        evaluate="rows=300 often=8 often_rows=25 temperature=0.6",
    )
