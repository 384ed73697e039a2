"""Models side by side: gold and its components, win rates, and what none of them could know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.evaluation.gold import Judgement, judge
from posttrain.evaluation.intervals import IntervalEstimate, bootstrap, wilson, with_interval

Figures = dict[str, float | int | str]
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


def of_one(answers: Answers) -> Figures:
    """``gold/MODEL`` and its components, ``reward/MODEL``, ``ends/MODEL``, ``words/MODEL``."""
    name = answers.name
    totals = [judgement.total for judgement in answers.gold if judgement is not None]
    figures = with_interval(f"gold/{name}", bootstrap(totals))
    for component, values in components(answers).items():
        figures |= with_interval(f"gold/{name}/{component}", bootstrap(values))
    figures |= with_interval(f"reward/{name}", bootstrap(answers.rewards))
    figures |= with_interval(f"ends/{name}", wilson(sum(answers.ended), len(answers.ended)))
    figures[f"words/{name}"] = sum(len(text.split()) for text in answers.texts) / max(1, len(answers.texts))
    return figures


def components(answers: Answers) -> dict[str, list[float]]:
    """Each component of gold over the prompts it applies to."""
    by_name: dict[str, list[float]] = {}
    for judgement in answers.gold:
        for name, value in (judgement.parts if judgement else {}).items():
            by_name.setdefault(name, []).append(value)
    return dict(sorted(by_name.items()))


def against(one: Answers, other: Answers) -> Figures:
    """Independent answers of A and B to the same prompts, compared by gold.

    ``win_rate/A_vs_B`` counts wins and half of the ties; ``reward_win_rate/A_vs_B`` does so by the reward
    model; ``tie_rate`` counts ties, and ``gold_change`` is the mean difference.
    """
    label = f"{one.name}_vs_{other.name}"
    gaps = [
        a.total - b.total
        for a, b in zip(one.gold, other.gold, strict=True)
        if a is not None and b is not None
    ]
    figures = with_interval(f"win_rate/{label}", win_rate(gaps))
    ties = sum(abs(gap) <= SAME for gap in gaps)
    figures |= with_interval(f"tie_rate/{label}", wilson(ties, len(gaps)))
    figures |= with_interval(f"gold_change/{label}", bootstrap(gaps))
    scored = [a - b for a, b in zip(one.rewards, other.rewards, strict=True)]
    return figures | with_interval(f"reward_win_rate/{label}", win_rate(scored))


def win_rate(gaps: Sequence[float]) -> IntervalEstimate:
    """The share of gaps above 0, ties as half, never broken."""
    wins = sum(1.0 if gap > SAME else 0.5 if abs(gap) <= SAME else 0.0 for gap in gaps)
    return wilson(wins, len(gaps))


def falls(one: Answers, other: Answers) -> Figures:
    """``component_change/NAME``: each gold component's change from B to A; ``component_change_worst``."""
    changes: dict[str, list[float]] = {}
    for before, after in zip(other.gold, one.gold, strict=True):
        if before is not None and after is not None:
            for name in before.parts.keys() & after.parts.keys():
                changes.setdefault(name, []).append(after.parts[name] - before.parts[name])
    figures: Figures = {}
    worst = math.inf
    for name, moved in sorted(changes.items()):
        change = bootstrap(moved)
        figures |= with_interval(f"component_change/{name}", change)
        worst = min(worst, change.value)
    figures["component_change_worst"] = worst if math.isfinite(worst) else "unknown"
    return figures


def by_family(answers: Answers, prompts: Sequence[Mapping[str, Any]]) -> Figures:
    """``gold_by_family/MODEL/FAMILY`` and its parts ``gold_by_family/MODEL/FAMILY/PART``: means, which show
    where a change comes from.
    """
    scores: dict[str, list[float]] = {}
    for prompt, judgement in zip(prompts, answers.gold, strict=True):
        if judgement is not None:
            family = str(prompt["item"]["family"])
            scores.setdefault(family, []).append(judgement.total)
            for part, value in judgement.parts.items():
                scores.setdefault(f"{family}/{part}", []).append(value)
    return {f"gold_by_family/{answers.name}/{f}": sum(v) / len(v) for f, v in sorted(scores.items())}


def family_changes(one: Answers, other: Answers, prompts: Sequence[Mapping[str, Any]]) -> Figures:
    """``family_change/FAMILY``: gold's change from B to A for each family of prompts;
    ``family_change_worst``: the smallest of these.
    """
    moved: dict[str, list[float]] = {}
    for prompt, before, after in zip(prompts, other.gold, one.gold, strict=True):
        if before is not None and after is not None:
            moved.setdefault(str(prompt["item"]["family"]), []).append(after.total - before.total)
    figures: Figures = {}
    for family, changes in sorted(moved.items()):
        figures |= with_interval(f"family_change/{family}", bootstrap(changes))
    means = [sum(changes) / len(changes) for changes in moved.values()]
    return figures | {"family_change_worst": min(means, default="unknown")}
