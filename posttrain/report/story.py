"""The headline: what the run did, and what its metrics allow to be said about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from posttrain.pipeline.stage import ALIGNMENT, REINFORCEMENT
from posttrain.report import judged, returns
from posttrain.report.dots import between
from posttrain.report.headline_pair import models
from posttrain.report.record import Curve, Made, RunRecord
from posttrain.report.scale import duration, number, percent
from posttrain.report.shown import Shown, find, of_family
from posttrain.report.titles import plain

GOLD_UNKNOWN = (
    "Gold reward unknown: these prompts come without an answer key. This report can tell whether the policy "
    "earns more from the reward it was trained on, and how far it moved for that; it cannot tell whether its "
    "answers are better, nor whether it found a hole in the reward. Read the answers below, or have people "
    "compare them."
)
GOLD_UNKNOWN_UNREWARDED = (
    "Gold reward unknown: these prompts come without an answer key. This report can tell how far the policy "
    "moved and what a reward model thinks of that; it cannot tell whether its answers are better. Read the "
    "answers below, or have people compare them."
)


@dataclass(frozen=True, kw_only=True)
class Key:
    """A metric of the headline."""

    label: str
    value: str
    detail: str = ""


def policy_stage(run: RunRecord) -> Made | None:
    """The last stage that trained a policy against a reward, controls aside; where no stage of the run has a
    role, the last one whose curves have a reward, and KL where any has.
    """
    rewarded = [stage for stage in run.stages if "reward" in stage.curves]
    trained = [stage for stage in rewarded if stage.role == REINFORCEMENT and not stage.control]
    if not any(stage.role for stage in run.stages):
        trained = [stage for stage in rewarded if "kl" in stage.curves] or rewarded
    return trained[-1] if trained else None


def aligned(run: RunRecord) -> Made | None:
    """The stage that trained the policy on comparisons alone, where no stage trained one against a reward."""
    if policy_stage(run):
        return None
    return next((s for s in reversed(run.stages) if s.role == ALIGNMENT and not s.control), None)


def gold_curve(run: RunRecord) -> tuple[Made, Curve] | None:
    """Gold reward over the steps of the policy, from whichever stage measured it."""
    return next(((s, s.curves["gold"]) for s in reversed(run.stages) if "gold" in s.curves), None)


def win_rate(run: RunRecord) -> Shown | None:
    """The last policy against its starting point: the first comparison by gold of the last evaluation."""
    return next(iter(of_family(run.stages, "win_rate/{model}_vs_{other}")), None)


def _ends(run: RunRecord, family: str) -> tuple[Shown, Shown] | None:
    """A quantity of the model before and of the one after, as evaluation measured it."""
    pair = models(run)
    if pair is None:
        return None
    before, after = (find(run.stages, f"{family}/{model}") for model in pair)
    return (before, after) if before and after else None


def kl(run: RunRecord) -> tuple[Shown | None, float] | None:
    """KL of the final policy from its reference, nats per completion: evaluated, else at the end."""
    pair = models(run)
    measured = find(run.stages, "kl", *([f"kl/{pair[1]}"] if pair else []))
    if measured:
        return measured, measured.metric.number
    stage = policy_stage(run)
    last = stage.curves["kl"][-1][1] if stage and "kl" in stage.curves else math.nan
    return (None, last) if math.isfinite(last) else None


def reward(run: RunRecord) -> tuple[float, float] | None:
    """The proxy before and after: evaluated, else the means of the first and the last tenth of training.

    The two have scales of their own: evaluation shows the reward model's score, training what was paid.
    """
    measured = _ends(run, "reward")
    if measured:
        return measured[0].metric.number, measured[1].metric.number
    stage = policy_stage(run)
    values = [y for _, y in stage.curves["reward"] if math.isfinite(y)] if stage else []
    tenth = max(1, len(values) // 10)
    if not values:
        return None
    return math.fsum(values[:tenth]) / tenth, math.fsum(values[-tenth:]) / tenth


def gold(run: RunRecord) -> tuple[float, float] | None:
    measured, curve = _ends(run, "gold"), gold_curve(run)
    if measured:
        return measured[0].metric.number, measured[1].metric.number
    values = [y for _, y in curve[1] if math.isfinite(y)] if curve else []
    return (values[0], values[-1]) if values else None


def keys(run: RunRecord) -> list[Key]:
    """A few metrics that say most about an aligned model."""
    rows = [Key(label=label, value=value, detail=detail) for label, value, detail in returns.keys(run)]
    if rows:
        return rows
    asked = judged.keys(run)
    rows = [Key(label=label, value=value, detail=detail) for label, value, detail in asked]
    won = win_rate(run)
    if won:
        first, second = plain(won.slot("model")), plain(won.slot("other"))
        interval = won.metric.interval
        detail = f"95 % interval {between(*interval, True)}" if interval else ""
        rows.append(Key(label=f"{first} beats {second}, win + ½ tie", value=won.brief, detail=detail))
    moved = kl(run)
    if moved:
        interval = moved[0].metric.interval if moved[0] else None
        detail = f"95 % interval {between(*interval, False)}" if interval else "nats per completion"
        rows.append(Key(label="KL from the reference, nats", value=number(moved[1]), detail=detail))
    for label, pair, share in (
        ("gold reward", gold(run), True),
        (_proxy(run), reward(run), False),
    ):
        if pair:
            before, after = (percent(v) if share else number(v) for v in pair)
            ends = _ends(run, "gold" if share else "reward")
            over = _over(ends) if ends or share else "first to last tenth of the steps"
            rows.append(Key(label=label, value=f"{before} → {after}", detail=over))
        elif share and not asked:
            rows.append(Key(label=label, value="unknown", detail="no answer key"))
    return rows if policy_stage(run) or won else [row for row in rows if row.value != "unknown"]


def did(run: RunRecord) -> str:
    """One sentence: the recipe, its stages, the time."""
    addresses = [stage.address for stage in run.stages]
    made = sum(not stage.cached for stage in run.stages)
    spent = sum(stage.seconds or 0.0 for stage in run.stages)
    sentence = f"{run.recipe} made {len(addresses)} products, {_listed(addresses)}"
    if spent:
        sentence += f", in {duration(spent)} of work"
        if run.gflops:
            sentence += f" at {number(run.gflops)} GFLOP/s of float32 matrix products"
    if made < len(addresses):
        sentence += f"; {len(addresses) - made} of them were there already"
    return sentence + "."


def verdict(run: RunRecord) -> list[str]:
    """What the metrics say, one sentence each, none said more firmly than its interval allows."""
    has_judge = judged.has_judgements(run)
    sentences = returns.verdict(run) + judged.verdict(run)
    won = win_rate(run)
    if won:
        sentences.append(_won(won, kl(run)))
    direct = aligned(run)
    if direct and not has_judge:
        sentences += _prefers(direct)
    proxy, truth = reward(run), gold(run)
    claim = f"the {_proxy(run)} {_rose(run, proxy)}" if proxy else ""
    if proxy and truth:
        ends = models(run)
        change = find(run.stages, f"gold_change/{ends[1]}_vs_{ends[0]}") if ends else None
        climbed = direct is None and claim.endswith(" rose")
        tail = f"{claim} ({number(proxy[0])} to {number(proxy[1])})"
        sentences.append(_both(tail, climbed, truth, change.metric.interval if change else None))
    elif proxy:
        far = kl(run)
        distance = f", at a KL of {number(far[1])} nats per completion" if far and not won else ""
        moved = f"{claim[0].upper()}{claim[1:]}, from {number(proxy[0])} to {number(proxy[1])}"
        sentences.append(f"{moved}{distance}.")
    if not truth and (proxy or won) and not returns.has_plays(run) and not has_judge:
        sentences.append(GOLD_UNKNOWN_UNREWARDED if direct else GOLD_UNKNOWN)
    failed = [(s.address, f.name) for s in run.stages for f in s.findings if not f.passed]
    if failed:
        which = _listed([f"{name} of {address}" for address, name in failed])
        sentences.append(f"{number(len(failed))} check{'s' * (len(failed) > 1)} failed: {which}.")
    return sentences or ["This run measured no policy against another."]


def _won(won: Shown, moved: tuple[Shown | None, float] | None) -> str:
    first, second = plain(won.slot("model")), plain(won.slot("other"))
    interval = won.metric.interval
    if interval is None:
        claim = f"The {first} model wins {won.brief} against {second}, without an interval"
    elif interval[0] > 0.5:
        claim = f"The {first} model is better than {second}"
    elif interval[1] < 0.5:
        claim = f"The {first} model is worse than {second}"
    else:
        claim = f"The {first} model cannot be told apart from {second}"
    if interval is not None:
        claim += f": it wins {won.brief} of comparisons, ties counted as half"
        claim += f" (95 % interval {between(*interval, True)}"
        claim += f", {number(won.metric.n)} prompts)" if won.metric.n else ")"
    return claim + (f", at a KL of {number(moved[1])} nats per completion." if moved else ".")


def _rose(run: RunRecord, proxy: tuple[float, float]) -> str:
    """Whether the proxy rose; where both ends have an interval, only if these are apart."""
    ends = _ends(run, "reward")
    if ends and ends[0].metric.interval and ends[1].metric.interval:
        before, after = ends[0].metric.interval, ends[1].metric.interval
        if before[1] < after[0]:
            return "rose"
        return "fell" if after[1] < before[0] else "did not clearly change"
    return "rose" if proxy[1] > proxy[0] else "did not rise"


def _proxy(run: RunRecord) -> str:
    if aligned(run):
        return "score of a reward model that it never saw"
    return "reward model's score" if _ends(run, "reward") else "reward it was trained on"


def _over(ends: tuple[Shown, Shown] | None) -> str:
    """From which model to which, and on how many prompts where that is known."""
    if ends is None:
        return "first to last measured step"
    before, after = (plain(one.slot("model")) for one in ends)
    count = ends[1].metric.n
    return f"{before} to {after}" + (f", {number(count)} prompts" if count else "")


def _prefers(stage: Made) -> list[str]:
    """What was learned from comparisons, on held-out ones."""
    agreement = find([stage], "label_accuracy")
    if not agreement:
        return []
    interval = agreement.metric.interval
    within = f" (95 % interval {between(*interval, True)})" if interval else ""
    claim = f"Trained on comparisons alone, it sides with the annotators in {agreement.brief}"
    return [f"{claim} of held-out ones{within}."]


def _both(tail: str, climbed: bool, truth: tuple[float, float], interval: tuple[float, float] | None) -> str:
    """Gold, then the proxy; ``climbed``: the proxy was trained on and rose."""
    claim = f"Gold reward went from {percent(truth[0])} to {percent(truth[1])} of what is attainable"
    fell = truth[1] < truth[0]
    if interval:
        low, high = (f"{100 * bound:+.1f}".replace("-", "−") for bound in interval)
        claim += f" (95 % interval of the change: {low} to {high} points)"
        fell = interval[1] < 0
        if interval[0] <= 0 <= interval[1]:
            claim += ", which is no clear change"
    if fell and climbed:
        return f"{claim}, while {tail}: the reward was over-optimized."
    return f"{claim}; {tail}."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "nothing"
