"""What a report says of a user's own data, where nobody knows the right answers: whether the last policy is
better, by a judge that no policy learned from and by comparisons that nothing was trained on.
"""

from __future__ import annotations

import math

from posttrain.report import names
from posttrain.report.dots import between
from posttrain.report.figures import Figure, find, grouped
from posttrain.report.record import RunRecord
from posttrain.report.scale import number, percent

READ = "Whether it is better for you is in the answers below: read some of them side by side."


def known(run: RunRecord) -> bool:
    """Whether an evaluation asked a judge, or held-out comparisons."""
    return _first(run, "judge_win_rate/") is not None or _first(run, "implicit_accuracy/") is not None


def keys(run: RunRecord) -> list[tuple[str, str, str]]:
    """Label, value, detail."""
    rows = []
    for prefix, label in (
        ("judge_win_rate/", "the judge prefers {} to {}, win + ½ tie"),
        ("implicit_accuracy/", "{} against {}: implicit reward sides with people"),
    ):
        figure = _first(run, prefix)
        if figure is not None:
            last, first = _pair(figure)
            rows.append((label.format(names.model(last), names.model(first)), *_share(figure)))
    figure = _first(run, "implicit_accuracy/")
    if figure is not None:
        last, first = _pair(figure)
        before, after = (_figure(run, f"label_accuracy/{name}") for name in (first, last))
        if before and after:
            told = f"{percent(before.number)} → {percent(after.number)}"
            rows.append(("likelihood sides with people", told, _change(run, last, first)))
    return rows


def verdict(run: RunRecord) -> list[str]:
    """The judge's word and how far it can be trusted, the comparisons' word, and what to do."""
    sentences = []
    judged = _first(run, "judge_win_rate/")
    if judged is not None:
        sentences += [_judged(judged), *_trusted(_figure(run, "judge_accuracy"))]
    preferred = _first(run, "implicit_accuracy/")
    if preferred is not None:
        sentences.append(_preferring(run, preferred))
    return [*sentences, READ] if sentences else []


def _first(run: RunRecord, prefix: str) -> Figure | None:
    """The figure of the last policy against the first, which comes first."""
    for stage in reversed(run.stages):
        for figure in grouped(stage.figures):
            if figure.name.startswith(prefix) and math.isfinite(figure.number):
                return figure
    return None


def _figure(run: RunRecord, name: str) -> Figure | None:
    found = find(run.stages, name)
    return found[1] if found and math.isfinite(found[1].number) else None


def _pair(figure: Figure) -> tuple[str, str]:
    last, _, first = figure.name.rpartition("/")[2].partition("_vs_")
    return last, first


def _share(figure: Figure) -> tuple[str, str]:
    detail = f"95 % interval {between(*figure.interval, True)}" if figure.interval else ""
    return percent(figure.number), detail + (f", n {number(figure.count)}" if figure.count else "")


def _judged(figure: Figure) -> str:
    last, first = (names.model(name) for name in _pair(figure))
    low, high = figure.interval or (0.0, 1.0)
    claim = f"By a judge that no policy learned from, the {last} model "
    if low > 0.5:
        claim += f"is better than {first}"
    elif high < 0.5:
        claim += f"is worse than {first}"
    else:
        claim += f"cannot be told apart from {first}"
    asked = f", {number(figure.count)} prompts" if figure.count else ""
    share = f"it prefers its answer to {percent(figure.number)} of prompts, ties counted as half"
    return f"{claim}: {share} (95 % interval {between(low, high, True)}{asked})."


def _trusted(figure: Figure | None) -> list[str]:
    """How far the judge itself can be trusted."""
    if figure is None or figure.interval is None:
        return []
    told = f"The judge sides with people in {percent(figure.number)} of comparisons that it has not seen"
    within = f" (95 % interval {between(*figure.interval, True)})"
    doubt = "" if figure.interval[0] > 0.5 else ", which is no better than a coin: its word is worth nothing"
    return [f"{told}{within}{doubt}."]


def _preferring(run: RunRecord, figure: Figure) -> str:
    last, first = _pair(figure)
    within = f" (95 % interval {between(*figure.interval, True)})" if figure.interval else ""
    asked = f"{number(figure.count)} held-out comparisons" if figure.count else "held-out comparisons"
    told = (
        f"On {asked} the reward that it behaves as if it maximised, its log-ratio to {names.model(first)}, "
        f"sides with people in {percent(figure.number)}{within}"
    )
    before, after = (_figure(run, f"label_accuracy/{name}") for name in (first, last))
    if not before or not after:
        return f"{told}."
    moved = f"{percent(before.number)} to {percent(after.number)}"
    return f"{told}; its likelihood per token went from {moved} ({_change(run, last, first)})."


def _change(run: RunRecord, last: str, first: str) -> str:
    """The interval of the paired change, in points."""
    figure = _figure(run, f"label_accuracy_change/{last}_vs_{first}")
    if figure is None or figure.interval is None:
        return ""
    low, high = (f"{100 * bound:+.1f}".replace("-", "−") for bound in figure.interval)
    return f"95 % interval of the change {low} to {high} points"
