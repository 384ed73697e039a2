"""Whether what a policy learned from a reward model holds with a judge that it did not learn from. Both
findings are told and stop nothing: no stage follows that could be spared, and what the judge says is the
result of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posttrain.checks.thresholds import OfEvaluation
from posttrain.pipeline.finding import Finding

JUDGES = {"win_rate": "gold", "judge_win_rate": "the judge"}
PROXY = "reward_win_rate"


def check(figures: Mapping[str, Any]) -> Finding:
    """Reads ``reward_win_rate/A_vs_B``, and ``win_rate`` (gold) or ``judge_win_rate`` of the same models with
    its interval. Fails where the reward model finds A better and a judge finds it worse, each with all of its
    interval.
    """
    known, wrong = [], []
    for name in figures:
        judge, _, models = name.partition("/")
        high, low = figures.get(f"{name}_high"), figures.get(f"{PROXY}/{models}_low")
        if judge in JUDGES and isinstance(high, int | float) and isinstance(low, int | float):
            known.append(name)
            if low > 0.5 and high < 0.5:
                wrong.append(name)
    told = [
        f"{models.replace('_', ' ')}: it wins {float(figures[name]):.1%} by {JUDGES[judge]}, "
        f"{float(figures[f'{PROXY}/{models}']):.1%} by the reward model"
        for name in wrong
        for judge, _, models in [name.partition("/")]
    ]
    return Finding(
        name="judge_follows_reward",
        value=min((float(figures[name]) for name in known), default="unknown"),
        threshold=0.5,
        passed=not wrong,
        evidence="; ".join(told)
        or (
            f"{len(known)} comparisons: none in which reward and judge part"
            if known
            else "no judge: not known"
        ),
        advice="rl learned what the reward model (rm) is wrong about: raise rl.method.kl.coef, lower "
        "rl.steps, or label answers of the final policy (recipe rounds)",
        learning=True,
        stops=False,
    )


def on_policy(figures: Mapping[str, Any], thresholds: OfEvaluation) -> Finding:
    """Reads ``accuracy_on_policy`` with its interval, of pairs of the final policy's answers, where those
    were compared. Fails where the whole interval is below the threshold.
    """
    own, high = figures.get("accuracy_on_policy", "unknown"), figures.get("accuracy_on_policy_high")
    return Finding(
        name="rm_ranks_own_answers",
        value=own,
        threshold=thresholds.accuracy_on_policy,
        passed=not isinstance(high, int | float) or high >= thresholds.accuracy_on_policy,
        evidence=f"in {float(own):.1%} of pairs of the final policy's answers rm prefers what gold prefers"
        if isinstance(high, int | float)
        else "the final policy's answers were not compared (evaluate.own_answers): not known",
        advice="rm does not tell apart what rl writes: label answers of the final policy (recipe rounds), or "
        "lower rl.steps",
        learning=True,
        stops=False,
    )
