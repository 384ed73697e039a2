"""What a report says of play in an environment: what it earned, beside a random policy and the optimum."""

from __future__ import annotations

from posttrain.report.dots import between
from posttrain.report.record import RunRecord
from posttrain.report.scale import number
from posttrain.report.shown import find


def has_plays(run: RunRecord) -> bool:
    """Whether an evaluation played."""
    return find(run.stages, "return/policy") is not None


def keys(run: RunRecord) -> list[tuple[str, str, str]]:
    """Label, value, detail."""
    rows = []
    for name, label in (("policy", "return, the policy"), ("random", "return, a random policy")):
        earned = find(run.stages, f"return/{name}")
        if earned:
            interval = earned.metric.interval
            detail = f"95 % interval {between(*interval, False)}" if interval else ""
            rows.append((label, earned.brief, detail))
    share = find(run.stages, "share_of_optimum")
    return [*rows, ("share of the optimum", share.brief, "computed, not sampled")] if share else rows


def verdict(run: RunRecord) -> list[str]:
    """One sentence on what it earns, one on the optimum where that is known."""
    policy, random = find(run.stages, "return/policy"), find(run.stages, "return/random")
    if policy is None or random is None:
        return []
    policy_interval, chance = policy.metric.interval, random.metric.interval
    plays = f" over {number(policy.metric.n)} plays" if policy.metric.n else ""
    interval = f" (95 % interval {between(*policy_interval, False)}{plays})" if policy_interval else ""
    claim = (
        ""
        if policy_interval and chance and policy_interval[0] > chance[1]
        else ", from which it cannot be told apart"
    )
    sentences = [f"The policy earns {policy.brief} a play{interval}, a random one {random.brief}{claim}."]
    share = find(run.stages, "share_of_optimum")
    if share:
        sentences.append(f"That policy is worth {share.brief} of the best there is, without a sample.")
    return sentences
