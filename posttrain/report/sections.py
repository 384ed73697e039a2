"""The chapters of the page, each from what the run has; one without material is empty and left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from posttrain.metrics import COUNT, HIGH, LOW, is_share
from posttrain.pipeline.circumstances import standing
from posttrain.report import samples, story, titles
from posttrain.report.catalogue import declared
from posttrain.report.chart import Mark, Panel, Series, panel, tail, window
from posttrain.report.graph import Node, diagram
from posttrain.report.record import Curve, Made, RunRecord
from posttrain.report.scale import number
from posttrain.report.shown import shown
from posttrain.report.svg import tag

_TONES = {"reward": "proxy", "return": "gold", "gold": "gold", "kl": "kl"}  # classes of the style sheet
_BACKGROUND = frozenset(("steps", "updates", "rows", "tokens", "seconds", "answers"))  # units that count
_PER_TOKEN = "per token"  # how the unit of a mean over tokens ends


def chapter(title: str, *parts: str, caption: str = "") -> str:
    body = "".join(parts)
    note = tag("p", escape(caption), class_="caption") if caption else ""
    return tag("section", tag("h2", escape(title)) + note + body) if body else ""


def head(run: RunRecord) -> str:
    """Title, headline and the few metrics it rests on."""
    seeds = list(dict.fromkeys(str(stage.seed) for stage in run.stages if stage.seed is not None))
    facts = [f"run {run.directory.name}", str(run.record.get("started", ""))[:16].replace("T", " ")]
    facts += [
        f"seed {', '.join(seeds)}" if seeds else "",
        f"posttrain {run.record.get('posttrain', '')}".strip(),
    ]
    status = standing(run.record)
    if status not in ("finished", "?"):
        facts.append(f"status: {status}")
    overrides = " ".join(map(str, run.record.get("overrides", [])))
    command = tag("p", tag("code", escape(f"posttrain run {run.recipe} {overrides}".rstrip())))
    sentences = "".join(tag("p", escape(sentence)) for sentence in story.verdict(run))
    lead = tag("div", sentences + tag("p", escape(story.did(run)), class_="fine"), class_="lead")
    rows = "".join(
        tag("div", tag("dt", escape(k.label)) + tag("dd", escape(k.value) + tag("small", escape(k.detail))))
        for k in story.keys(run)
    )
    keys = tag("dl", rows, class_="keys") if rows else ""
    meta = tag("p", escape(" · ".join(fact for fact in facts if fact)), class_="meta")
    return (
        tag("header", tag("h1", escape(run.recipe)) + meta + command + lead + keys)
        + trouble(run)
        + notes(run)
    )


def trouble(run: RunRecord) -> str:
    """Checks that failed, where nobody can miss them."""
    paragraphs = [
        tag(
            "p",
            f"<span class='failed'>{escape(stage.address)}: {escape(finding.name)}</span> "
            f"{escape(number(finding.value))}{_limit(finding.threshold)} "
            f"{escape(finding.evidence)} {escape(finding.advice)}",
        )
        for stage in run.stages
        for finding in stage.findings
        if not finding.passed
    ]
    if run.waiting:
        paragraphs.append(tag("p", f"Waiting for people: {escape(', '.join(run.waiting))}."))
    return tag("div", "".join(paragraphs), class_="trouble") if paragraphs else ""


def notes(run: RunRecord) -> str:
    """What stages say about themselves: annotators were simulated, a checkpoint was tuned before."""
    who: dict[str, list[str]] = {}
    for stage in run.stages:
        for note in stage.notes:
            who.setdefault(note, []).append(stage.address)
    rows = [f"<b>{escape(', '.join(stages))}</b> {escape(note)}" for note, stages in who.items()]
    return tag("ul", "".join(tag("li", row) for row in rows), class_="notes") if rows else ""


def recipe(run: RunRecord) -> str:
    nodes = []
    for stage in run.stages:
        first = next(iter(shown(stage)), None)
        says = f"{first.title} {first.brief}" if first else ""
        failed = any(not finding.passed for finding in stage.findings)
        does = stage.does
        does = "" if does == stage.address else does
        nodes.append(Node(name=stage.address, does=does, says=says, trouble=failed))
    graph = diagram(nodes, run.edges)
    return chapter("Recipe", tag("div", graph, class_="wide") if graph else "")


def curves(stage: Made, gold: tuple[Made, Curve] | None) -> str:
    """A stage's curves as small multiples: those that are declared with an order first, the rest behind a
    click.
    """
    by_name = dict(stage.curves)
    bands: dict[str, Mapping[str, Curve]] = {"gold": stage.curves}
    if gold and "gold" not in by_name and "reward" in by_name:
        by_name["gold"] = gold[1]
        bands["gold"] = gold[0].curves
    kinds = {name: declared(name, "log") for name in by_name if not _beside_another(name, by_name)}
    order = {name: one.kind.order for name, one in kinds.items() if one is not None and one.kind.order}
    leading = sorted(order, key=order.__getitem__)
    counting = {name for name, one in kinds.items() if one is not None and one.unit in _BACKGROUND}
    rest = sorted(kinds.keys() - order.keys() - counting)
    first = "".join(curve(name, by_name[name], bands.get(name, by_name)) for name in leading)
    others = "".join(curve(name, by_name[name], by_name) for name in rest)
    if not first:
        first, others = others, ""
    body = tag("div", first, class_="multiples") if first else ""
    if others:
        summary = tag("summary", f"{len(rest)} more curves of {escape(stage.address)}")
        body += tag("details", summary + tag("div", others, class_="multiples"))
    return body


def _beside_another(name: str, curves: Mapping[str, Curve]) -> bool:
    """Whether a curve has no panel: it is an interval's end, a count, or the floor of another."""
    ends = (name.removesuffix(end) for end in (LOW, HIGH, COUNT) if name.endswith(end))
    one = declared(name, "log")
    return any(end in curves for end in ends) or (one is not None and one.kind.floor_of in curves)


def curve(name: str, points: Curve, companions: Mapping[str, Curve]) -> str:
    """The panel of a curve, with what its metric means as the tooltip; ``companions`` has its interval, the
    counts that its steps are weighted by, and the least that it can be.
    """
    what = declared(name, "log")
    unit, tone = what.unit if what else "", _TONES.get(name, "ink")
    lows, highs = dict(companions.get(f"{name}{LOW}", [])), dict(companions.get(f"{name}{HIGH}", []))
    band = [(lows[step], highs[step]) for step, _ in points if step in lows and step in highs]
    band = band if len(band) == len(points) else []
    share = is_share(unit) and all(0 <= y <= 1 for _, y in points if math.isfinite(y))
    counted = dict(companions.get("tokens" if unit.endswith(_PER_TOKEN) else "rows", []))
    weights = [counted.get(step, 0.0) for step, _ in points]
    weights = weights if all(weight > 0 for weight in weights) else []
    series = [Series(points=points, weights=weights, tone=tone, band=band)]
    if least := _floor(name, companions):
        series.append(Series(points=least, tone="muted"))
        unit = f"{unit}; grey: the least these labels allow"
    title, meaning = titles.title(what, name), what.meaning if what else ""
    title = title[:1].upper() + title[1:] if what else title
    return panel(Panel(title=title, unit=unit, meaning=meaning, series=series, share=share, positive=True))


def _floor(name: str, curves: Mapping[str, Curve]) -> Curve:
    """The curve that is declared as the least of another."""
    kinds = {other: declared(other, "log") for other in curves}
    return next((curves[o] for o, one in kinds.items() if one is not None and one.kind.floor_of == name), [])


def over_steps(run: RunRecord) -> str:
    """One block of curves for each stage that has any; the policy's comes first."""
    main = story.policy_stage(run) or story.aligned(run)
    blocks = []
    for stage in [s for s in [main, *[one for one in run.stages if one is not main]] if s]:
        only_gold = main is not None and stage is not main and _measures_gold(stage)
        panels = "" if only_gold else curves(stage, story.gold_curve(run) if stage is main else None)
        if panels:
            does = stage.does
            title = stage.address if does == stage.address else f"{stage.address}: {does}"
            if stage.control:
                blocks.append(tag("details", tag("summary", escape(title)) + panels))
            else:
                blocks.append(tag("h3", escape(title)) + panels)
    longest = max((len(c) for s in run.stages for c in s.curves.values()), default=0)
    smooth = (
        f" Bold lines are running means of up to {window(longest)} steps over the thin line of every step."
    )
    ends = (
        " The number at the end of a line is a mean over as many of its last steps as stand below it, each "
        "weighted by its rows, or its tokens where the unit is a token."
    )
    caption = "Each point is a mean over the rows of one step: the answers of reinforcement, else a batch."
    caption += (smooth if longest > 40 else "") + (ends if tail(longest) > 1 else "")
    return chapter("Over the steps", *blocks, caption=caption)


def _measures_gold(stage: Made) -> bool:
    """Whether its curves are the gold of another stage's steps, which stands beside that stage's own."""
    return "gold" in stage.curves and not stage.role


def over_optimization(run: RunRecord) -> str:
    """Proxy and gold over the square root of KL (Gao et al. 2023), each on its own axis."""
    stage = story.policy_stage(run)
    if stage is None or "kl" not in stage.curves or "reward" not in stage.curves:
        return ""
    gold = story.gold_curve(run)
    panels = []
    for name, source in (("reward", stage), ("gold", gold[0] if gold else None)):
        if source is not None:
            kl = dict(source.curves.get("kl", stage.curves["kl"]))
            panels.append(_against_kl(name, source.curves[name], kl, _best_of(run) if name == "gold" else []))
    if gold is None:
        panels.append(
            tag("p", "Gold reward unknown: whether it rose with the proxy, this report cannot tell.")
        )
    caption = (
        "A policy that is paid by a proxy first gains in both, then in the proxy alone; the distance it has "
        "gone is the square root of its KL. Gold is measured afterwards and never trained on."
    )
    return chapter(
        "Proxy and gold against distance", tag("div", "".join(panels), class_="multiples"), caption=caption
    )


def _against_kl(name: str, points: Curve, kl: Mapping[float, float], marks: Sequence[Mark]) -> str:
    what = declared(name, "log")
    unit = what.unit if what else ""
    distance = [math.sqrt(max(0.0, kl.get(step, math.nan))) for step, _ in points]
    path = [
        (d, y) for d, (_, y) in zip(distance, points, strict=True) if math.isfinite(d) and math.isfinite(y)
    ]
    last = points[-1][0] if points else 0
    return panel(
        Panel(
            title=titles.title(what, name),
            unit=unit,
            meaning=what.meaning if what else "",
            series=[Series(points=path, tone=_TONES.get(name, "ink"))],
            x_title="√KL from the reference, √nats per completion",
            share=is_share(unit) and all(0 <= y <= 1 for _, y in path),
            x_zero=True,
            dots=True,
            ends=("", f"step {last:g}"),
            marks=marks,
        )
    )


def _best_of(run: RunRecord) -> list[Mark]:
    """Best of n by the reward model, at its bound on KL, log n - (n - 1) / n (Beirami et al. 2024)."""
    marks = {}
    for stage in run.stages:
        n = stage.settings.get("best_of")
        gold = stage.metrics.get(f"gold/best_of_{n}")
        if isinstance(n, int) and gold is not None and math.isfinite(gold.number):
            distance = math.sqrt(max(0.0, math.log(n) - (n - 1) / n))
            marks[n] = Mark(x=distance, y=gold.number, label=f"best of {n}")
    return list(marks.values())


def side_by_side(run: RunRecord) -> str:
    tables = []
    for stage in reversed(run.stages):
        if stage.samples:
            tables.append(samples.table(stage.samples, stage.seed if stage.seed is not None else 0))
    return chapter("The same prompts, answered by each model", *tables)


def _limit(threshold: object) -> str:
    return "." if threshold is None else f" (asked for {escape(number(threshold))})."
