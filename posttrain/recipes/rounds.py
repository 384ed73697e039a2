"""Any number of rounds (Bai et al. 2022, section 4.5; Touvron et al. 2023): the current policy answers,
people compare, a reward model is made afresh, and the policy is improved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from posttrain.core.kl import KLInReward
from posttrain.direct_alignment.dpo import DPO
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.ppo import PPO
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.presets import Evidence, on_more_prompts, with_controls
from posttrain.rewards.learned import LearnedReward
from posttrain.stages.alignment import Alignment
from posttrain.stages.contest import Contest
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import Annotation
from posttrain.stages.mixture import Mixture, Source
from posttrain.stages.pairs import ComparisonPairs
from posttrain.stages.preferred import ScoredPreferences
from posttrain.stages.rejection import RejectionSampling
from posttrain.stages.rl import Reinforcement
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from posttrain.training.kl_control import AdaptiveKL

FROZEN = "frozen_control: as many rounds and labels, all labels of the first policy's answers"
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "field_guide": {
        "pairs": {"rows": 800, "heldout": 100},
        "rl": {
            "method": PPO(kl=KLInReward(coef=0.1), epochs=1, minibatches=4),
            "control": AdaptiveKL(target=3.0, horizon=640),
            "steps": 15,
        },
        "rejection": {"rows": 1500, "heldout": 100},
        "preferences": {"rows": 1500, "heldout": 100},
    },
    "smollm2": {
        "pairs": {"rows": 80, "heldout": 24},
        "rl": {"steps": 8},
        "rejection": {"rows": 80, "heldout": 24, "answers": 4},
        "preferences": {"rows": 80, "heldout": 24},
    },
}


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a round begins with. ``again`` is how many times as often as elsewhere its reward model reads the
    labels, ``named`` what an ablation's stages are called.
    """

    policy: Stage
    labels: Stage  # of all rounds so far
    told: HeldoutEvaluation  # instructgpt's stages: their settings are those of every round
    sizes: dict[str, dict[str, Any]]
    seed: int
    again: float = 1.0
    named: str = ""

    @property
    def judge(self) -> RewardModeling:
        """A reward model made afresh from the labels of all rounds so far."""
        judge = cast(RewardModeling, self.told.reward_model)
        epochs = math.ceil(judge.epochs * self.again)
        own: dict[str, Any] = {"comparisons": self.labels, "epochs": epochs, "seed": self.seed}
        return replace(judge, name=_rm(self.named), **own)


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
    if model not in SIZES:
        raise UserError(f"model={model}: expected one of {', '.join(SIZES)}")
    if not 1 <= count <= MOST_ROUNDS:
        raise UserError(f"count={count}: expected from 1 to {MOST_ROUNDS} rounds")
    told = cast(HeldoutEvaluation, instructgpt(seed, model))
    sizes, improved = SIZES[model], IMPROVED[by]
    policies: list[Stage] = [told.sft]
    labels: list[Annotation] = []
    shared: dict[str, Any] = {"told": told, "sizes": sizes}
    for number in range(count):
        labels.append(_labels(told, policies[-1], sizes, seed + number))
        known = labels[-1] if by == "dpo" else _together(labels, seed + number)
        start = Round(policy=policies[-1], labels=known, seed=seed + number, **shared)
        policies.append(improved(start, start.judge if by != "dpo" else None))
    controlled = with_controls(evidence) or count == 1  # one round is its own ablation
    frozen = [_frozen(told, sizes, count, seed, by)] if controlled and count > 1 else []
    return on_more_prompts(
        Contest(
            controls=tuple(frozen),
            policies=tuple(policies),
            prompts=told.prompts,
            temperature=told.temperature,
            max_completion_length=told.max_completion_length,
            seed=seed,
            left_out=() if controlled else (FROZEN,),
        )
    )


def _together(labels: list[Annotation], seed: int) -> Stage:
    """What annotators said in all rounds so far."""
    if len(labels) == 1:
        return labels[0]
    sources = tuple(Source(name=f"round_{n}", rows=said) for n, said in enumerate(labels, start=1))
    return Mixture(name="all_labels", sources=sources, seed=seed)


def _frozen(
    told: HeldoutEvaluation, sizes: dict[str, dict[str, Any]], count: int, seed: int, by: str
) -> Stage:
    """As many rounds and labels, all labels of the first policy's answers."""
    pairs = {**sizes["pairs"], "rows": count * sizes["pairs"]["rows"]}
    named = "frozen_control"
    labels = _labels(told, told.sft, {**sizes, "pairs": pairs}, seed, named)
    again = (count + 1) / 2  # reward models of rounds read 1, 2, ... rounds' labels, this one count
    start = Round(policy=told.sft, labels=labels, told=told, sizes=sizes, seed=seed, again=again, named=named)
    judge = start.judge if by != "dpo" else None
    for number in range(count):
        start = replace(start, policy=IMPROVED[by](start, judge), seed=seed + number + 1)
    return start.policy


def _labels(
    told: HeldoutEvaluation, policy: Stage, sizes: dict[str, dict[str, Any]], seed: int, named: str = ""
) -> Annotation:
    """What annotators say of pairs of this policy's answers."""
    pairs, labels = cast(ComparisonPairs, told.pairs), cast(Annotation, told.labels)
    named_pairs = f"{named}_pairs" if named else ""
    own = replace(pairs, name=named_pairs, policy=policy, seed=seed, **sizes["pairs"])
    return replace(labels, name=f"{named}_labels" if named else "", pairs=own, seed=seed)


def _rm(named: str) -> str:
    return f"{named}_rm" if named else ""


def _reinforced(start: Round, judge: RewardModeling | None) -> Stage:
    """PPO on this round's reward model; the reference is the policy that the round began with."""
    rl = cast(Reinforcement, start.told.final)
    assert judge is not None
    reward = replace(cast(LearnedReward, rl.reward), model=judge)
    own: dict[str, Any] = {"policy": start.policy, "reward": reward, "critic": judge, "seed": start.seed}
    own["as_control"] = bool(start.named)  # an ablation that does badly is a result
    return replace(rl, name=start.named, **{**start.sizes["rl"], **own})


def _aligned(start: Round, judge: RewardModeling | None) -> Stage:
    """DPO on this round's labels; the reference is the policy that the round began with."""
    sft, rm = cast(InstructionTuning, start.told.sft), cast(RewardModeling, start.told.reward_model)
    return Alignment(
        name=start.named,
        policy=start.policy,
        comparisons=start.labels,
        method=DPO(),
        learning_rate=sft.learning_rate / 5,
        batch_size=rm.batch_size,
        lora=sft.lora,
        seed=start.seed,
    )


def _aligned_by_reward(start: Round, judge: RewardModeling | None) -> Stage:
    """DPO on the best and the worst of several answers, as this round's reward model sees them (Dong et al.
    2024).
    """
    assert judge is not None
    preferred = ScoredPreferences(
        name=f"{start.named}_preferences" if start.named else "",
        policy=start.policy,
        prompts=start.told.prompts,
        reward=LearnedReward(model=judge),
        temperature=start.told.temperature,
        max_completion_length=start.told.max_completion_length,
        seed=start.seed,
        **start.sizes["preferences"],
    )
    aligned = cast(Alignment, _aligned(start, judge))
    return replace(aligned, comparisons=preferred)


def _imitated(start: Round, judge: RewardModeling | None) -> Stage:
    """Instruction tuning on the answers that this round's reward model likes best."""
    assert judge is not None
    kept = RejectionSampling(
        name=f"{start.named}_rejection" if start.named else "",
        policy=start.policy,
        prompts=start.told.prompts,
        reward=LearnedReward(model=judge),
        temperature=start.told.temperature,
        max_completion_length=start.told.max_completion_length,
        seed=start.seed,
        **start.sizes["rejection"],
    )
    sft = cast(InstructionTuning, start.told.sft)
    name = start.named or "imitation"
    own: dict[str, Any] = {"learning_rate": sft.learning_rate / 2, "as_control": bool(start.named)}
    return replace(sft, name=name, base=start.policy, demonstrations=kept, seed=start.seed, **own)


IMPROVED: dict[str, Callable[[Round, RewardModeling | None], Stage]] = {
    "ppo": _reinforced,
    "dpo": _aligned,
    "scored_dpo": _aligned_by_reward,
    "rejection": _imitated,
}
