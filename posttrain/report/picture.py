"""One picture of a run for a README: reward, gold (or the length of answers) and KL over the steps, and who
wins against whom, or who solves how much.

``python -m posttrain.report.picture RUN OUT.svg``: RUN is a directory under ``WORKSPACE/runs``. The SVG
stands alone: its colours are inside, light or dark as the reader's machine has it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from posttrain.pipeline.finding import UserError
from posttrain.report import story, svg
from posttrain.report.chart import HEIGHT, WIDTH
from posttrain.report.dots import Dot, whiskers
from posttrain.report.record import RunRecord
from posttrain.report.scale import number
from posttrain.report.sections import curve
from posttrain.report.shown import of_family
from posttrain.report.style import CSS, FONTS

_GAP, _MARGIN, _HEAD = 24.0, 20.0, 34.0


def picture(run: RunRecord) -> str:
    """The SVG as text. Raises UserError where the run has no stage with a reward over its steps."""
    stage = story.policy_stage(run)
    if stage is None:
        raise UserError(
            f"{run.directory}: no stage of this run has a reward over its steps, so there is no picture"
        )
    gold = story.gold_curve(run)
    panels = [curve("reward", stage.curves["reward"], stage.curves)]
    if gold:
        panels.append(curve("gold", gold[1], gold[0].curves))
    shown = ["kl"] if gold else ["length", "kl"]
    panels += [curve(name, stage.curves[name], stage.curves) for name in shown if name in stage.curves]
    words, wins = _standing(run)
    width = 2 * _MARGIN + len(panels) * WIDTH + (len(panels) - 1) * _GAP
    parts = [svg.tag("rect", width=width, height="100%", class_="paper"), titled(run, _MARGIN)]
    for index, drawing in enumerate(panels):
        parts.append(_at(drawing, _MARGIN + index * (WIDTH + _GAP), _HEAD + _MARGIN, WIDTH))
    bottom = _HEAD + _MARGIN + HEIGHT + 8
    if wins:
        parts += [svg.text(_MARGIN, bottom + 14, words, class_="title"), _at(wins, _MARGIN, bottom + 26, 740)]
        bottom += 26 + _height(wins)
    whole = svg.drawing(width, bottom + 14, [svg.tag("style", css()), *parts], "; ".join(story.verdict(run)))
    return whole + "\n"


def _standing(run: RunRecord) -> tuple[str, str]:
    """Win rates, or without any the shares of problems solved; what they are and their drawing."""
    about = "on held-out {}; lines are 95 % intervals"
    if wins := _dots(run, "win_rate/{model}_vs_{other}"):
        words = f"Win rates in gold, ties as half, {about.format('prompts')}"
        return words, whiskers(wins, share=True, level=(0.5, "even"))
    return f"Solved, {about.format('problems')}", whiskers(_dots(run, "solved/{model}"), share=True)


def _dots(run: RunRecord, family: str) -> list[Dot]:
    """The metrics of a family that have an interval, each of the last stage that has it."""
    last = {one.name: one for one in reversed(of_family(run.stages, family)) if one.metric.interval}
    dots = []
    for one in last.values():
        low, high = one.metric.bounds
        note = f"n = {number(one.metric.n)}" if one.metric.n else ""
        dots.append(Dot(label=one.label, value=one.metric.number, low=low, high=high, note=note))
    return dots


def titled(run: RunRecord, margin: float) -> str:
    """The command and its seeds."""
    seeds = list(dict.fromkeys(str(stage.seed) for stage in run.stages if stage.seed is not None))
    words = " ".join(str(word) for word in run.record.get("overrides", []) if str(word).startswith("model="))
    about = f"posttrain run {run.recipe} {words}".rstrip() + (f", seed {', '.join(seeds)}" if seeds else "")
    return svg.text(margin, margin + 12, about, class_="heading")


def _at(drawing: str, x: float, y: float, width: float) -> str:
    """An SVG inside another, at its own size."""
    viewport = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{_height(drawing):g}"'
    return drawing.replace("<svg ", f"<svg {viewport} ", 1)


def _height(drawing: str) -> float:
    return float(drawing.partition('viewBox="')[2].partition('"')[0].split()[3])


def css() -> str:
    """The page's tones and the rules of its drawings; ``svg text`` would not match inside a lone SVG file."""
    start = CSS.index("svg text{")
    rules = CSS[start : CSS.index("table{")].replace("svg ", "")
    tones = CSS[CSS.index(":root") : CSS.index("*{")]
    extra_rules = "svg{overflow:visible}.paper{fill:var(--paper)}.heading{font-size:14px;font-weight:600}"
    return f"{tones}text{{font-family:{FONTS}}}{rules}{extra_rules}"


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 after a sentence where the user can mend something."""
    return draw_run(picture, "picture", arguments)


def draw_run(draw: Callable[[RunRecord], str], module: str, arguments: list[str]) -> int:
    """Draw the run of the first argument into the file of the second; exit codes as ``main``."""
    if len(arguments) != 2 or arguments[0].startswith("-"):
        print(f"usage: python -m posttrain.report.{module} RUN OUT.svg   (RUN: one of WORKSPACE/runs)")
        return 0 if arguments[:1] in (["--help"], ["-h"]) else 2
    directory = Path(arguments[0]).resolve()
    try:
        text = draw(RunRecord.load(directory, directory.parent.parent))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Path(arguments[1]).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
