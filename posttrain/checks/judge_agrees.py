"""Whether what a policy learned from a reward model holds with a judge that it did not learn from. Both
findings are told and stop nothing: no stage follows that could be spared, and what the judge says is the
result of the run.
"""

from __future__ import annotations

from posttrain.checks.thresholds import OfEvaluation
from posttrain.metrics import Metrics, members, read
from posttrain.pipeline.finding import Finding

JUDGES = {
    "win_rate/{model}_vs_{other}": "gold",
    "judge_win_rate/{model}_vs_{other}": "the judge",
}
PROXY = "reward_win_rate/{model}_vs_{other}"


def check(metrics: Metrics) -> Finding:
    """Reads ``reward_win_rate/A_vs_B``, and ``win_rate`` (gold) or ``judge_win_rate`` of the same models with
    its interval. Fails where the reward model finds A better and a judge finds it worse, each with all of its
    interval.
    """
    proxies = {(slots["model"], slots["other"]): metric for slots, metric in members(metrics, PROXY)}
    values, wrong = [], []
    for family, judge in JUDGES.items():
        for slots, won in members(metrics, family):
            proxy = proxies.get((slots["model"], slots["other"]))
            if proxy is None or proxy.low is None or won.high is None:
                continue
            values.append(won.number)
            if proxy.low > 0.5 and won.high < 0.5:
                models = f"{slots['model']} vs {slots['other']}".replace("_", " ")
                wrong.append(
                    f"{models}: it wins {won.number:.1%} by {judge}, {proxy.number:.1%} by the reward model"
                )
    return Finding(
        name="judge_follows_reward",
        value=min(values) if values else "unknown",
        threshold=0.5,
        passed=not wrong,
        evidence="; ".join(wrong)
        or (
            f"{len(values)} comparisons: none in which reward and judge part"
            if values
            else "no judge: not known"
        ),
        advice="rl learned what the reward model (rm) is wrong about: raise rl.method.kl.coef, lower "
        "rl.steps, or label answers of the final policy (recipe rounds)",
        learning=True,
        stops=False,
    )


def on_policy(metrics: Metrics, thresholds: OfEvaluation) -> Finding:
    """Reads ``accuracy_on_policy`` with its interval, of pairs of the final policy's answers, where those
    were compared. Fails where the whole interval is below the threshold.
    """
    agreement = read(metrics, "accuracy_on_policy")
    high = agreement.high
    return Finding(
        name="rm_ranks_own_answers",
        value=agreement.value,
        threshold=thresholds.accuracy_on_policy,
        passed=high is None or high >= thresholds.accuracy_on_policy,
        evidence=f"in {agreement.number:.1%} of pairs of the final policy's answers rm prefers what gold "
        "prefers"
        if high is not None
        else "the final policy's answers were not compared (evaluate.own_answers): not known",
        advice="rm does not tell apart what rl writes: label answers of the final policy (recipe rounds), or "
        "lower rl.steps",
        learning=True,
        stops=False,
    )
