"""What a report says of play in an environment: what it earned, beside a random policy and the optimum."""

from __future__ import annotations

import math

from posttrain.report.dots import between
from posttrain.report.figures import Figure, find
from posttrain.report.record import RunRecord
from posttrain.report.scale import number, percent


def known(run: RunRecord) -> bool:
    """Whether an evaluation played."""
    return find(run.stages, "return/policy") is not None


def _figure(run: RunRecord, name: str) -> Figure | None:
    found = find(run.stages, name)
    return found[1] if found and math.isfinite(found[1].number) else None


def keys(run: RunRecord) -> list[tuple[str, str, str]]:
    """Label, value, detail."""
    rows = []
    for name, label in (("policy", "return, the policy"), ("random", "return, a random policy")):
        figure = _figure(run, f"return/{name}")
        if figure:
            detail = f"95 % interval {between(*figure.interval, False)}" if figure.interval else ""
            rows.append((label, number(figure.number), detail))
    share = _figure(run, "share_of_optimum")
    return (
        [*rows, ("share of the optimum", percent(share.number), "computed, not sampled")] if share else rows
    )


def verdict(run: RunRecord) -> list[str]:
    """One sentence on what it earns, one on the optimum where that is known."""
    own, chance = _figure(run, "return/policy"), _figure(run, "return/random")
    if own is None or chance is None:
        return []
    plays = f" over {number(own.count)} plays" if own.count else ""
    interval = f" (95 % interval {between(*own.interval, False)}{plays})" if own.interval else ""
    apart = own.interval and chance.interval and own.interval[0] > chance.interval[1]
    told = "" if apart else ", from which it cannot be told apart"
    sentences = [
        f"The policy earns {number(own.number)} a play{interval}, a random one {number(chance.number)}{told}."
    ]
    share = _figure(run, "share_of_optimum")
    if share:
        sentences.append(
            f"That policy is worth {percent(share.number)} of the best there is, without a sample."
        )
    return sentences
