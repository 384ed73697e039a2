"""Any number of rounds (Bai et al. 2022, section 4.5; Touvron et al. 2023): the current policy answers,
people compare, a reward model is made afresh, and the policy is improved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from posttrain.direct_alignment.dpo import DPO
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.recipes.instructgpt_stages import InstructGPT, embedded_stages, learned_reward
from posttrain.recipes.presets import Evidence, on_more_prompts, with_controls
from posttrain.rewards.learned import LearnedReward
from posttrain.settings import with_overrides
from posttrain.stages.alignment import Alignment
from posttrain.stages.contest import Contest
from posttrain.stages.labels import Annotation
from posttrain.stages.mixture import Mixture, Source
from posttrain.stages.pairs import ComparisonPairs
from posttrain.stages.preferred import ScoredPreferences
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning

FROZEN = "frozen_control: as many rounds and labels, all labels of the first policy's answers"
# by the embedded model, of the stages of every round
OVERRIDES = {
    "field_guide": """
        pairs.rows=800 pairs.heldout=100
        rl.method.kl.coef=0.1 rl.control.target=3 rl.steps=15
        rejection.rows=1500 rejection.heldout=100 preferences.rows=1500 preferences.heldout=100
    """,
    "smollm2": """
        pairs.rows=80 pairs.heldout=24
        rl.steps=8
        rejection.rows=80 rejection.heldout=24 rejection.answers=4 preferences.rows=80 preferences.heldout=24
    """,
}


@dataclass(frozen=True, kw_only=True)
class RoundStages:
    """The stages of a first round, one for each way to improve a policy; a later round has another policy in
    them.
    """

    pairs: ComparisonPairs
    labels: Annotation
    rm: RewardModeling
    rl: Reinforcement
    alignment: Alignment
    preferences: ScoredPreferences
    rejection: RejectionSampling
    imitation: InstructionTuning

    @classmethod
    def of(cls, stages: InstructGPT, seed: int) -> RoundStages:
        """The stages of InstructGPT, and those that it has not."""
        sft, evaluate = stages.sft, stages.evaluate
        alignment = Alignment(
            policy=sft,
            comparisons=stages.labels,
            method=DPO(),
            learning_rate=sft.learning_rate / 5,
            batch_size=stages.rm.batch_size,
            lora=sft.lora,
            seed=seed,
        )
        preferences = ScoredPreferences(
            policy=sft,
            prompts=evaluate.prompts,
            reward=LearnedReward(model=stages.rm),
            temperature=evaluate.temperature,
            max_completion_length=evaluate.max_completion_length,
            seed=seed,
        )
        rejection = RejectionSampling(
            policy=sft,
            prompts=evaluate.prompts,
            reward=LearnedReward(model=stages.rm),
            temperature=evaluate.temperature,
            max_completion_length=evaluate.max_completion_length,
            seed=seed,
        )
        return cls(
            pairs=stages.pairs,
            labels=stages.labels,
            rm=stages.rm,
            rl=stages.rl,
            alignment=alignment,
            preferences=preferences,
            rejection=rejection,
            imitation=replace(sft, name="imitation", learning_rate=sft.learning_rate / 2),
        )


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a round begins with. ``again`` is how many times as often as elsewhere its reward model reads the
    labels, ``named`` what an ablation's stages are called.
    """

    policy: Stage
    labels: Stage  # of all rounds so far
    stages: RoundStages
    seed: int
    again: float = 1.0
    named: str = ""

    @property
    def judge(self) -> RewardModeling:
        """A reward model made afresh from the labels of all rounds so far."""
        rm = self.stages.rm
        epochs = math.ceil(rm.epochs * self.again)
        return replace(rm, name=self.name("rm"), comparisons=self.labels, epochs=epochs, seed=self.seed)

    def name(self, kind: str) -> str:
        """Of a stage of this round; empty where the round is no ablation's."""
        return f"{self.named}_{kind}" if self.named else ""


MOST_ROUNDS = 50  # each has five stages, which read those of all rounds before


def rounds(
    seed: int = 0,
    model: str = "field_guide",
    count: int = 4,
    by: str = "ppo",
    evidence: Evidence = "quick",
) -> Stage:
    """Base model, instruction tuning, then ``count`` rounds of pairs, labels, reward model and improvement.

    A reward model learns from the labels of all rounds so far. Prompts are the same in every round.

    Parameters:
        seed: Seed of every stage.
        model: field_guide (the embedded model and world) or smollm2 (fetched once, trained with adapters).
        count: Rounds of pairs, labels, reward model and improvement.
        by: What improves the policy: ppo; dpo (on the round's labels, without a reward model); scored_dpo (on
            pairs that the reward model makes of the policy's answers); or rejection.
        evidence: full adds as many rounds of the same size that all use labels of the first policy's answers,
            as many labels in all; with a reward model, one, frozen, which reads them as often as the rounds'
            read theirs.
    """
    if by not in IMPROVED:
        raise UserError(f"by={by}: expected one of {', '.join(IMPROVED)}")
    if model not in OVERRIDES:
        raise UserError(f"model={model}: expected one of {', '.join(OVERRIDES)}")
    if not 1 <= count <= MOST_ROUNDS:
        raise UserError(f"count={count}: expected from 1 to {MOST_ROUNDS} rounds")
    whole = embedded_stages(seed, model, objective="plain")
    stages = with_overrides(RoundStages.of(whole, seed), OVERRIDES[model])
    improved = IMPROVED[by]
    policies: list[Stage] = [whole.sft]
    labels: list[Annotation] = []
    for number in range(count):
        labels.append(_labels(stages, policies[-1], seed + number))
        read = labels[-1] if by == "dpo" else _together(labels, seed + number)
        start = Round(policy=policies[-1], labels=read, stages=stages, seed=seed + number)
        policies.append(improved(start, start.judge if by != "dpo" else None))
    controlled = with_controls(evidence) or count == 1  # one round is its own ablation
    frozen = [_frozen(stages, whole.sft, count, seed, by)] if controlled and count > 1 else []
    return on_more_prompts(
        Contest(
            controls=tuple(frozen),
            policies=tuple(policies),
            prompts=whole.evaluate.prompts,
            temperature=whole.evaluate.temperature,
            max_completion_length=whole.evaluate.max_completion_length,
            seed=seed,
            left_out=() if controlled else (FROZEN,),
        )
    )


def _together(labels: list[Annotation], seed: int) -> Stage:
    """What annotators said in all rounds so far."""
    if len(labels) == 1:
        return labels[0]
    sources = tuple(Source(name=f"round_{n}", rows=rows) for n, rows in enumerate(labels, start=1))
    return Mixture(name="all_labels", sources=sources, seed=seed)


def _frozen(stages: RoundStages, policy: Stage, count: int, seed: int, by: str) -> Stage:
    """As many rounds and labels, all labels of the first policy's answers."""
    named = "frozen_control"
    more = replace(stages.pairs, name=f"{named}_pairs", rows=count * stages.pairs.rows)
    labels = _labels(replace(stages, pairs=more), policy, seed)
    labels = replace(labels, name=f"{named}_labels")
    again = (count + 1) / 2  # reward models of rounds read 1, 2, ... rounds' labels, this one count
    start = Round(policy=policy, labels=labels, stages=stages, seed=seed, again=again, named=named)
    judge = start.judge if by != "dpo" else None
    for number in range(count):
        start = replace(start, policy=IMPROVED[by](start, judge), seed=seed + number + 1)
    return start.policy


def _labels(stages: RoundStages, policy: Stage, seed: int) -> Annotation:
    """What annotators say of pairs of this policy's answers."""
    return replace(stages.labels, pairs=replace(stages.pairs, policy=policy, seed=seed), seed=seed)


def _reinforced(start: Round, judge: RewardModeling | None) -> Stage:
    """PPO on this round's reward model; the reference is the policy that the round began with."""
    assert judge is not None
    return replace(
        start.stages.rl,
        name=start.named,
        policy=start.policy,
        reward=learned_reward(judge),
        critic=judge,
        seed=start.seed,
        as_control=bool(start.named),  # an ablation that does badly is a result
    )


def _aligned(start: Round, judge: RewardModeling | None) -> Stage:
    """DPO on this round's labels; the reference is the policy that the round began with."""
    return _aligned_on(start, start.labels)


def _aligned_by_reward(start: Round, judge: RewardModeling | None) -> Stage:
    """DPO on the best and the worst of several answers, as this round's reward model sees them (Dong et al.
    2024).
    """
    assert judge is not None
    preferred = replace(
        start.stages.preferences,
        name=start.name("preferences"),
        policy=start.policy,
        reward=LearnedReward(model=judge),
        seed=start.seed,
    )
    return _aligned_on(start, preferred)


def _aligned_on(start: Round, comparisons: Stage) -> Stage:
    return replace(
        start.stages.alignment,
        name=start.named,
        policy=start.policy,
        comparisons=comparisons,
        seed=start.seed,
    )


def _imitated(start: Round, judge: RewardModeling | None) -> Stage:
    """Instruction tuning on the answers that this round's reward model likes best."""
    assert judge is not None
    best = replace(
        start.stages.rejection,
        name=start.name("rejection"),
        policy=start.policy,
        reward=LearnedReward(model=judge),
        seed=start.seed,
    )
    imitation = start.stages.imitation
    return replace(
        imitation,
        name=start.named or imitation.name,
        base=start.policy,
        demonstrations=best,
        seed=start.seed,
        as_control=bool(start.named),
    )


IMPROVED: dict[str, Callable[[Round, RewardModeling | None], Stage]] = {
    "ppo": _reinforced,
    "dpo": _aligned,
    "scored_dpo": _aligned_by_reward,
    "rejection": _imitated,
}
