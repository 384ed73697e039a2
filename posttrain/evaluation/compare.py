"""Models side by side: gold and its components, win rates, and what none of them could know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.evaluation.gold import Judgement, judge
from posttrain.evaluation.intervals import bootstrap, wilson
from posttrain.evaluation.solved_shares import ENDS
from posttrain.metrics import IntervalEstimate, Metric, declare_metric

GOLD = declare_metric(
    "gold/{model}",
    "Gold reward of the answers of {model} to held-out prompts, as a share of what a prompt can earn, mean "
    "over prompts.",
    unit="share of the attainable",
    better="up",
    axis="Gold reward, share of the attainable maximum",
    title="gold reward: {model}",
)
GOLD_COMPONENT = declare_metric(
    "gold/{model}/{component}",
    "One component of the gold reward, {component}, of the answers of {model}, mean over the prompts that "
    "it applies to.",
    unit="share of the attainable",
    better="up",
    axis="Components of the gold reward",
    change="component_change/{component}",
)
COMPONENT_CHANGE = declare_metric(
    "component_change/{component}",
    "How {component}, a component of the gold reward, changed from the first model to the last, paired by "
    "prompt.",
    unit="gold reward",
    better="up",
    title="change of {component}",
)
COMPONENT_CHANGE_WORST = declare_metric(
    "component_change_worst",
    "The least of the changes of the components of the gold reward.",
    unit="gold reward",
    better="up",
    title="smallest change of a component of gold",
)
SCORE_OF = declare_metric(
    "reward/{model}",
    "Score by the reward model, on its own scale, of the answers of {model} to held-out prompts.",
    unit="score",
    better="up",
    axis="Score by the reward model, on its own scale",
)
WORDS = declare_metric(
    "words/{model}",
    "Words of an answer of {model}, mean.",
    unit="words",
    better="none",
    title="words: {model}",
)
WIN_RATE = declare_metric(
    "win_rate/{model}_vs_{other}",
    "Share of prompts to which the answer of {model} earns more gold than that of {other}, ties as half.",
    unit="share of prompts",
    better="up",
    axis="Win rates in gold, ties as half",
    level="even",
    title="win rate: {model} vs {other}",
)
TIE_RATE = declare_metric(
    "tie_rate/{model}_vs_{other}",
    "Share of prompts to which the answers of {model} and {other} earn the same gold.",
    unit="share of prompts",
    better="none",
    axis="Ties in gold",
    title="ties: {model} vs {other}",
)
GOLD_CHANGE = declare_metric(
    "gold_change/{model}_vs_{other}",
    "Gold reward of {model} less that of {other}, paired by prompt, mean.",
    unit="gold reward",
    better="up",
    axis="Change of the gold reward, 1 is all that can be earned",
    level="no change",
    title="change of gold: {model} vs {other}",
)
REWARD_WIN_RATE = declare_metric(
    "reward_win_rate/{model}_vs_{other}",
    "Share of prompts to which the reward model scores the answer of {model} higher than that of {other}, "
    "ties as half.",
    unit="share of prompts",
    better="up",
    axis="Win rates by the reward model, ties as half",
    level="even",
    title="win rate by the reward model: {model} vs {other}",
)
GOLD_BY_FAMILY = declare_metric(
    "gold_by_family/{model}/{family}",
    "Gold reward of the answers of {model} to prompts of the family {family}, mean.",
    unit="share of the attainable",
    better="up",
    axis="Gold reward by kind of prompt",
    change="family_change/{family}",
)
GOLD_BY_FAMILY_COMPONENT = declare_metric(
    "gold_by_family/{model}/{family}/{component}",
    "The component {component} of the gold reward of the answers of {model} to prompts of the family "
    "{family}, mean.",
    unit="share of the attainable",
    better="up",
    axis="Components of the gold reward by kind of prompt",
    change="family_change/{family}/{component}",
)
FAMILY_CHANGE = declare_metric(
    "family_change/{family}",
    "How the gold reward of prompts of the family {family} changed from the first model to the last, paired.",
    unit="gold reward",
    better="up",
    title="change of gold on {family}",
)
FAMILY_CHANGE_WORST = declare_metric(
    "family_change_worst",
    "The least change of the gold reward of a family of prompts.",
    unit="gold reward",
    better="up",
    title="smallest change of gold of a family of prompts",
)

SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One model's answers to the prompts, in their order."""

    name: str
    texts: Sequence[str]
    ended: Sequence[bool]
    rewards: Sequence[float]  # of the reward model, as it is
    gold: Sequence[Judgement | None]

    @classmethod
    def of(cls, name: str, episodes: Sequence[Any], rewards: Sequence[float]) -> Answers:
        """From episodes (``rewards.base.Episode``), each judged by its prompt's row."""
        return cls(
            name=name,
            texts=[e.response for e in episodes],
            ended=[e.ended for e in episodes],
            rewards=list(rewards),
            gold=[judge(e.prompt, e.response, e.ended) for e in episodes],
        )


def of_one(answers: Answers, rewarded: bool = True) -> dict[str, Metric]:
    """Gold and its components, how answers end, their words; and, where ``rewarded``, the reward model's
    score.
    """
    name = answers.name
    totals = [judgement.total for judgement in answers.gold if judgement is not None]
    metrics = GOLD.of(bootstrap(totals), model=name)
    for component, values in components(answers).items():
        metrics |= GOLD_COMPONENT.of(bootstrap(values), model=name, component=component)
    if rewarded:
        metrics |= SCORE_OF.of(bootstrap(answers.rewards), model=name)
    metrics |= ENDS.of(wilson(sum(answers.ended), len(answers.ended)), model=name)
    words = sum(len(text.split()) for text in answers.texts) / max(1, len(answers.texts))
    return metrics | WORDS.of(words, model=name)


def components(answers: Answers) -> dict[str, list[float]]:
    """Each component of gold over the prompts it applies to."""
    by_name: dict[str, list[float]] = {}
    for judgement in answers.gold:
        for name, value in (judgement.parts if judgement else {}).items():
            by_name.setdefault(name, []).append(value)
    return dict(sorted(by_name.items()))


def against(one: Answers, other: Answers, rewarded: bool = True) -> dict[str, Metric]:
    """Independent answers of A and B to the same prompts, compared by gold.

    ``win_rate/A_vs_B`` counts wins and half of the ties; ``reward_win_rate/A_vs_B`` does so by the reward
    model, where ``rewarded``; ``tie_rate`` counts ties, and ``gold_change`` is the mean difference.
    """
    pair = {"model": one.name, "other": other.name}
    gaps = [
        a.total - b.total
        for a, b in zip(one.gold, other.gold, strict=True)
        if a is not None and b is not None
    ]
    metrics = WIN_RATE.of(win_rate(gaps), **pair)
    ties = sum(abs(gap) <= SAME for gap in gaps)
    metrics |= TIE_RATE.of(wilson(ties, len(gaps)), **pair)
    metrics |= GOLD_CHANGE.of(bootstrap(gaps), **pair)
    if not rewarded:
        return metrics
    scored = [a - b for a, b in zip(one.rewards, other.rewards, strict=True)]
    return metrics | REWARD_WIN_RATE.of(win_rate(scored), **pair)


def win_rate(gaps: Sequence[float]) -> IntervalEstimate:
    """The share of gaps above 0, ties as half, never broken."""
    wins = sum(1.0 if gap > SAME else 0.5 if abs(gap) <= SAME else 0.0 for gap in gaps)
    return wilson(wins, len(gaps))


def falls(one: Answers, other: Answers) -> dict[str, Metric]:
    """``component_change/NAME``: each gold component's change from B to A; ``component_change_worst``."""
    changes: dict[str, list[float]] = {}
    for before, after in zip(other.gold, one.gold, strict=True):
        if before is not None and after is not None:
            for name in before.parts.keys() & after.parts.keys():
                changes.setdefault(name, []).append(after.parts[name] - before.parts[name])
    metrics: dict[str, Metric] = {}
    worst = math.inf
    for name, moved in sorted(changes.items()):
        change = bootstrap(moved)
        metrics |= COMPONENT_CHANGE.of(change, component=name)
        worst = min(worst, change.value)
    return metrics | COMPONENT_CHANGE_WORST.of(worst if math.isfinite(worst) else "unknown")


def by_family(answers: Answers, prompts: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """``gold_by_family/MODEL/FAMILY`` and its parts ``gold_by_family/MODEL/FAMILY/PART``: means, which show
    where a change comes from.
    """
    scores: dict[tuple[str, ...], list[float]] = {}
    for prompt, judgement in zip(prompts, answers.gold, strict=True):
        if judgement is not None:
            family = str(prompt["item"]["family"])
            scores.setdefault((family,), []).append(judgement.total)
            for part, value in judgement.parts.items():
                scores.setdefault((family, part), []).append(value)
    metrics: dict[str, Metric] = {}
    for (family, *parts), values in sorted(scores.items()):
        mean = sum(values) / len(values)
        slots = {"model": answers.name, "family": family}
        if parts:
            metrics |= GOLD_BY_FAMILY_COMPONENT.of(mean, component=parts[0], **slots)
        else:
            metrics |= GOLD_BY_FAMILY.of(mean, **slots)
    return metrics


def family_changes(one: Answers, other: Answers, prompts: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """``family_change/FAMILY``: gold's change from B to A for each family of prompts;
    ``family_change_worst``: the smallest of these.
    """
    moved: dict[str, list[float]] = {}
    for prompt, before, after in zip(prompts, other.gold, one.gold, strict=True):
        if before is not None and after is not None:
            moved.setdefault(str(prompt["item"]["family"]), []).append(after.total - before.total)
    metrics: dict[str, Metric] = {}
    for family, changes in sorted(moved.items()):
        metrics |= FAMILY_CHANGE.of(bootstrap(changes), family=family)
    means = [sum(changes) / len(changes) for changes in moved.values()]
    return metrics | FAMILY_CHANGE_WORST.of(min(means) if means else "unknown")
