"""The headline: what the run did, and what its figures allow to be said about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from posttrain.report import judged, names, returns
from posttrain.report.dots import between
from posttrain.report.figures import Figure, find, grouped
from posttrain.report.record import Curve, Made, RunRecord
from posttrain.report.scale import duration, number, percent

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
    """A figure of the headline."""

    label: str
    value: str
    detail: str = ""


def policy_stage(run: RunRecord) -> Made | None:
    """The last stage that trained a policy against a reward: the one whose curves have reward and KL."""
    curved = [stage for stage in run.stages if {"reward", "kl"} <= stage.curves.keys()]
    rewarded = [stage for stage in run.stages if "reward" in stage.curves]
    return next(iter([*curved[::-1], *rewarded[::-1]]), None)


def aligned(run: RunRecord) -> Made | None:
    """The stage that trained the policy on comparisons alone, where no stage trained one against a reward."""
    if policy_stage(run):
        return None
    return next((s for s in reversed(run.stages) if s.kind.rpartition(".")[2] == "Alignment"), None)


def gold_curve(run: RunRecord) -> tuple[Made, Curve] | None:
    """Gold reward over the steps of the policy, from whichever stage measured it."""
    return next(((s, s.curves["gold"]) for s in reversed(run.stages) if "gold" in s.curves), None)


def win_rate(run: RunRecord) -> tuple[Made, Figure] | None:
    """The last policy against its starting point; of several, the ones everybody asks for first."""
    usual = ("win_rate/final_vs_sft", "win_rate/rl_vs_sft", "win_rate/final_vs_base", "win_rate")
    found = find(run.stages, *usual)
    if found and math.isfinite(found[1].number):
        return found
    for stage in reversed(run.stages):
        for figure in grouped(stage.figures):
            if figure.name.startswith("win_rate") and math.isfinite(figure.number):
                return stage, figure
    return None


def compared(figure: Figure) -> tuple[str, str]:
    """Who is compared with whom in ``win_rate/final_vs_sft``."""
    first, _, second = figure.name.rpartition("/")[2].partition("_vs_")
    return (names.model(first), names.model(second)) if second else ("final", "SFT")


def _pair(run: RunRecord, quantity: str) -> tuple[float, float] | None:
    """A quantity of the SFT model and of the final one, as evaluation measured it."""
    before = find(run.stages, f"{quantity}/sft", f"{quantity}/base")
    after = find(run.stages, f"{quantity}/final", f"{quantity}/rl")
    if not before or not after or not all(math.isfinite(found[1].number) for found in (before, after)):
        return None
    return before[1].number, after[1].number


def kl(run: RunRecord) -> tuple[Figure | None, float] | None:
    """KL of the final policy from its reference, nats per completion: evaluated, else at the end."""
    found = find(run.stages, "kl", "kl/final", "kl/final_vs_sft", "kl/sft")
    if found and math.isfinite(found[1].number):
        return found[1], found[1].number
    stage = policy_stage(run)
    last = stage.curves["kl"][-1][1] if stage and "kl" in stage.curves else math.nan
    return (None, last) if math.isfinite(last) else None


def reward(run: RunRecord) -> tuple[float, float] | None:
    """The proxy before and after: evaluated, else the means of the first and the last tenth of training.

    The two have scales of their own: evaluation shows the reward model's score, training what was paid.
    """
    measured = _pair(run, "reward")
    stage = policy_stage(run)
    if measured or stage is None:
        return measured
    values = [y for _, y in stage.curves["reward"] if math.isfinite(y)]
    tenth = max(1, len(values) // 10)
    if not values:
        return None
    return math.fsum(values[:tenth]) / tenth, math.fsum(values[-tenth:]) / tenth


def gold(run: RunRecord) -> tuple[float, float] | None:
    measured = _pair(run, "gold")
    curve = gold_curve(run)
    if measured or curve is None:
        return measured
    values = [y for _, y in curve[1] if math.isfinite(y)]
    return (values[0], values[-1]) if values else None


def keys(run: RunRecord) -> list[Key]:
    """A few figures that say most about an aligned model."""
    rows = [Key(label=label, value=value, detail=detail) for label, value, detail in returns.keys(run)]
    if rows:
        return rows
    asked = judged.keys(run)
    rows = [Key(label=label, value=value, detail=detail) for label, value, detail in asked]
    won = win_rate(run)
    if won:
        first, second = compared(won[1])
        detail = f"95 % interval {between(*won[1].interval, True)}" if won[1].interval else ""
        rows.append(
            Key(label=f"{first} beats {second}, win + ½ tie", value=percent(won[1].number), detail=detail)
        )
    moved = kl(run)
    if moved:
        interval = moved[0].interval if moved[0] else None
        detail = f"95 % interval {between(*interval, False)}" if interval else "nats per completion"
        rows.append(Key(label="KL from the reference, nats", value=number(moved[1]), detail=detail))
    for label, pair, share in (
        ("gold reward", gold(run), True),
        (_proxy(run), reward(run), False),
    ):
        if pair:
            before, after = (percent(v) if share else number(v) for v in pair)
            steps = not share and not _pair(run, "reward")
            over = "first to last tenth of the steps" if steps else _over(run, "gold" if share else "reward")
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
    """What the figures say, one sentence each, none said more firmly than its interval allows."""
    own = judged.known(run)
    sentences = returns.verdict(run) + judged.verdict(run)
    won = win_rate(run)
    if won:
        sentences.append(_won(won[1], kl(run)))
    direct = aligned(run)
    if direct and not own:
        sentences += _prefers(direct)
    proxy, truth = reward(run), gold(run)
    told = f"the {_proxy(run)} {_rose(run, proxy)}" if proxy else ""
    if proxy and truth:
        change = find(run.stages, "gold_change/final_vs_sft", "gold_change/rl_vs_sft")
        climbed = direct is None and told.endswith(" rose")
        tail = f"{told} ({number(proxy[0])} to {number(proxy[1])})"
        sentences.append(_both(tail, climbed, truth, change[1].interval if change else None))
    elif proxy:
        far = kl(run)
        distance = f", at a KL of {number(far[1])} nats per completion" if far and not won else ""
        moved = f"{told[0].upper()}{told[1:]}, from {number(proxy[0])} to {number(proxy[1])}"
        sentences.append(f"{moved}{distance}.")
    if not truth and (proxy or won) and not returns.known(run) and not own:
        sentences.append(GOLD_UNKNOWN_UNREWARDED if direct else GOLD_UNKNOWN)
    failed = [(s.address, f.name) for s in run.stages for f in s.findings if not f.passed]
    if failed:
        which = _listed([f"{name} of {address}" for address, name in failed])
        sentences.append(f"{number(len(failed))} check{'s' * (len(failed) > 1)} failed: {which}.")
    return sentences or ["This run measured no policy against another."]


def _won(figure: Figure, moved: tuple[Figure | None, float] | None) -> str:
    first, second = compared(figure)
    interval = figure.interval
    if interval is None:
        claim = f"The {first} model wins {percent(figure.number)} against {second}, without an interval"
    elif interval[0] > 0.5:
        claim = f"The {first} model is better than {second}"
    elif interval[1] < 0.5:
        claim = f"The {first} model is worse than {second}"
    else:
        claim = f"The {first} model cannot be told apart from {second}"
    if interval is not None:
        claim += f": it wins {percent(figure.number)} of comparisons, ties counted as half"
        claim += f" (95 % interval {between(*interval, True)}"
        claim += f", {number(figure.count)} prompts)" if figure.count else ")"
    return claim + (f", at a KL of {number(moved[1])} nats per completion." if moved else ".")


def _rose(run: RunRecord, proxy: tuple[float, float]) -> str:
    """Whether the proxy rose; where both ends have an interval, only if these are apart."""
    before, after = (find(run.stages, f"reward/{name}") for name in ("sft", "final"))
    if before and after and before[1].interval and after[1].interval:
        if before[1].interval[1] < after[1].interval[0]:
            return "rose"
        return "fell" if after[1].interval[1] < before[1].interval[0] else "did not clearly change"
    return "rose" if proxy[1] > proxy[0] else "did not rise"


def _proxy(run: RunRecord) -> str:
    if aligned(run):
        return "score of a reward model that it never saw"
    return "reward model's score" if _pair(run, "reward") else "reward it was trained on"


def _over(run: RunRecord, quantity: str) -> str:
    """From which model to which, and on how many prompts where that is known."""
    found = find(run.stages, f"{quantity}/final", f"{quantity}/rl")
    count = found[1].count if found else None
    return "SFT to final" + (f", {number(count)} prompts" if count else "")


def _prefers(stage: Made) -> list[str]:
    """What was learned from comparisons, on held-out ones."""
    found = find([stage], "label_accuracy")
    if not found or not math.isfinite(found[1].number):
        return []
    figure = found[1]
    within = f" (95 % interval {between(*figure.interval, True)})" if figure.interval else ""
    told = f"Trained on comparisons alone, it sides with the annotators in {percent(figure.number)}"
    return [f"{told} of held-out ones{within}."]


def _both(tail: str, climbed: bool, truth: tuple[float, float], interval: tuple[float, float] | None) -> str:
    """Gold, then the proxy; ``climbed``: the proxy was trained on and rose."""
    told = f"Gold reward went from {percent(truth[0])} to {percent(truth[1])} of what is attainable"
    fell = truth[1] < truth[0]
    if interval:
        low, high = (f"{100 * bound:+.1f}".replace("-", "−") for bound in interval)
        told += f" (95 % interval of the change: {low} to {high} points)"
        fell = interval[1] < 0
        if interval[0] <= 0 <= interval[1]:
            told += ", which is no clear change"
    if fell and climbed:
        return f"{told}, while {tail}: the reward was over-optimized."
    return f"{told}; {tail}."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "nothing"
