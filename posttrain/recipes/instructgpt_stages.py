"""The stages of InstructGPT on an embedded world, as a record from which other recipes derive theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from posttrain.core.kl import KLInReward
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.ppo import PPO
from posttrain.recipes.presets import Objective, Preset, adapter, in_place_of, overrides_of, preset
from posttrain.rewards.learned import LearnedReward
from posttrain.settings import with_overrides
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import Annotation, ComparisonRows
from posttrain.stages.pairs import ComparisonPairs
from posttrain.stages.prompts import PromptRows, PromptsOf
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning


@dataclass(frozen=True, kw_only=True)
class InstructGPT:
    """The stages on an embedded world, from which other recipes derive theirs."""

    sft: InstructionTuning
    pairs: ComparisonPairs  # of the tuned model's answers
    labels: Annotation
    rm: RewardModeling  # of the labels, or of a user's comparisons
    rl: Reinforcement
    evaluate: HeldoutEvaluation
    more_demonstrations: Stage | None  # for the controls
    shuffled_control: bool


def embedded_stages(
    seed: int,
    model: str,
    *,
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    lora: int = -1,
    objective: Objective = "",
) -> InstructGPT:
    """The stages with the settings of a preset, and a user's files in the place of its own. Raises UserError
    for a model or an objective that is none, and for prompts about which nobody could say anything.
    """
    chosen = preset(model, seed)
    stages = with_overrides(_stages(chosen, seed, lora), *overrides_of(chosen, objective))
    if demonstrations:
        tuned = replace(
            stages.sft, demonstrations=DemonstrationRows(source=SourceFile(demonstrations, "datasets"))
        )
        stages = replace(in_place_of(stages, stages.sft, tuned), more_demonstrations=None)
    rows = ComparisonRows(source=SourceFile(comparisons, "datasets")) if comparisons else None
    if prompts and rows is None:
        raise UserError(
            "the simulated annotators know only the embedded world, so nobody could compare answers to "
            "your own prompts; give comparisons=FILE with rows {prompt, chosen, rejected}"
        )
    if rows is None:
        return stages
    asked = PromptRows(source=SourceFile(prompts, "datasets")) if prompts else PromptsOf(rows=rows)
    stages = in_place_of(stages, stages.rm, replace(stages.rm, comparisons=rows))
    stages = in_place_of(stages, stages.rl, replace(stages.rl, prompts=asked))
    return replace(stages, evaluate=replace(stages.evaluate, prompts=asked, pairs=None, labels=None))


def _stages(chosen: Preset, seed: int, lora: int) -> InstructGPT:
    """The stages with their defaults on a preset's data."""
    adapters = adapter(chosen.lora_rank if lora < 0 else lora)
    sft = InstructionTuning(base=chosen.base, demonstrations=chosen.demonstrations, lora=adapters, seed=seed)
    pairs = ComparisonPairs(policy=sft, prompts=chosen.prompts, seed=seed)
    labels = Annotation(pairs=pairs, annotators=chosen.annotators, seed=seed)
    rm = RewardModeling(base=sft, comparisons=labels, lora=adapters, seed=seed)
    rl = Reinforcement(
        policy=sft,
        reward=learned_reward(rm),
        prompts=chosen.prompts,
        critic=rm,
        method=PPO(kl=KLInReward(coef=0.3), epochs=1, minibatches=4),
        lora=adapters,
        seed=seed,
    )
    evaluate = HeldoutEvaluation(
        base=chosen.base,
        sft=sft,
        final=rl,
        reward_model=rm,
        prompts=chosen.prompts,
        pairs=pairs,
        labels=labels,
        seed=seed,
    )
    return InstructGPT(
        sft=sft,
        pairs=pairs,
        labels=labels,
        rm=rm,
        rl=rl,
        evaluate=evaluate,
        more_demonstrations=chosen.more_demonstrations,
        shuffled_control=chosen.shuffled_control,
    )


def learned_reward(rm: Stage) -> LearnedReward:
    """What pays for answers: a reward model, less for an answer that was cut."""
    return LearnedReward(model=rm, missing_eos_penalty=1.0)
