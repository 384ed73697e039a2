"""What a report says of a user's own data, where nobody knows the right answers: whether the last policy is
better, by a judge that no policy learned from and by comparisons that nothing was trained on.
"""

from __future__ import annotations

from posttrain.report.dots import between
from posttrain.report.record import RunRecord
from posttrain.report.scale import number
from posttrain.report.shown import Shown, find, of_family
from posttrain.report.titles import plain

READ = "Whether it is better for you is in the answers below: read some of them side by side."


JUDGE = "judge_win_rate/{model}_vs_{other}"
IMPLICIT = "implicit_accuracy/{model}_vs_{other}"


def has_judgements(run: RunRecord) -> bool:
    """Whether an evaluation asked a judge, or held-out comparisons."""
    return _first(run, JUDGE) is not None or _first(run, IMPLICIT) is not None


def keys(run: RunRecord) -> list[tuple[str, str, str]]:
    """Label, value, detail."""
    rows = []
    for family, label in (
        (JUDGE, "the judge prefers {} to {}, win + ½ tie"),
        (IMPLICIT, "{} against {}: implicit reward sides with people"),
    ):
        one = _first(run, family)
        if one is not None:
            rows.append((label.format(*_pair(one)), one.brief, _within(one)))
    implicit = _first(run, IMPLICIT)
    ends = _likelihood(run, implicit) if implicit is not None else None
    if implicit is not None and ends is not None:
        moved = f"{ends[0].brief} → {ends[1].brief}"
        rows.append(("likelihood sides with people", moved, _change(run, implicit)))
    return rows


def verdict(run: RunRecord) -> list[str]:
    """The judge's word and how far it can be trusted, the comparisons' word, and what to do."""
    sentences = []
    judged = _first(run, JUDGE)
    if judged is not None:
        sentences += [_judged(judged), *_trusted(find(run.stages, "judge_accuracy"))]
    preferred = _first(run, IMPLICIT)
    if preferred is not None:
        sentences.append(_preferring(run, preferred))
    return [*sentences, READ] if sentences else []


def _first(run: RunRecord, family: str) -> Shown | None:
    """Of the last policy against the first, which comes first."""
    return next(iter(of_family(run.stages, family)), None)


def _pair(one: Shown) -> tuple[str, str]:
    return plain(one.slot("model")), plain(one.slot("other"))


def _likelihood(run: RunRecord, of: Shown) -> tuple[Shown, Shown] | None:
    """How often likelihood agrees with labels, of the model before and of the one after."""
    before, after = (find(run.stages, f"label_accuracy/{of.slot(model)}") for model in ("other", "model"))
    return (before, after) if before and after else None


def _within(one: Shown) -> str:
    interval, count = one.metric.interval, one.metric.n
    detail = f"95 % interval {between(*interval, True)}" if interval else ""
    return detail + (f", n {number(count)}" if count else "")


def _judged(one: Shown) -> str:
    last, first = _pair(one)
    low, high = one.metric.interval or (0.0, 1.0)
    claim = f"By a judge that no policy learned from, the {last} model "
    if low > 0.5:
        claim += f"is better than {first}"
    elif high < 0.5:
        claim += f"is worse than {first}"
    else:
        claim += f"cannot be told apart from {first}"
    asked = f", {number(one.metric.n)} prompts" if one.metric.n else ""
    share = f"it prefers its answer to {one.brief} of prompts, ties counted as half"
    return f"{claim}: {share} (95 % interval {between(low, high, True)}{asked})."


def _trusted(one: Shown | None) -> list[str]:
    """How far the judge itself can be trusted."""
    if one is None or one.metric.interval is None:
        return []
    low, high = one.metric.interval
    claim = f"The judge sides with people in {one.brief} of comparisons that it has not seen"
    doubt = "" if low > 0.5 else ", which is no better than a coin: its word is worth nothing"
    return [f"{claim} (95 % interval {between(low, high, True)}){doubt}."]


def _preferring(run: RunRecord, one: Shown) -> str:
    interval, count = one.metric.interval, one.metric.n
    within = f" (95 % interval {between(*interval, True)})" if interval else ""
    asked = f"{number(count)} held-out comparisons" if count else "held-out comparisons"
    last, first = _pair(one)
    claim = f"In {one.brief} of {asked} the {last} model favours the chosen answer more than {first} does"
    claim += f"{within}."
    ends = _likelihood(run, one)
    if ends is None:
        return claim
    change = _change(run, one)
    return (
        f"{claim} The chosen answer is the likelier one per token in {ends[0].brief} under {first} and in "
        f"{ends[1].brief} under {last}{f' ({change})' if change else ''}."
    )


def _change(run: RunRecord, of: Shown) -> str:
    """The interval of the paired change, in points."""
    change = find(run.stages, f"label_accuracy_change/{of.slot('model')}_vs_{of.slot('other')}")
    if change is None or change.metric.interval is None:
        return ""
    low, high = (f"{100 * bound:+.1f}".replace("-", "−") for bound in change.metric.interval)
    return f"95 % interval of the change {low} to {high} points"
