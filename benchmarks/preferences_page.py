"""The returns of bench_cartpole_preferences.py as a section of docs/classic.md, and as a picture."""

from __future__ import annotations

import textwrap
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from embedded_page import with_section
from preferences_cases import ABLATION, CONTROLS, LEARNED, Case

from posttrain.evaluation.intervals import wilson
from posttrain.report.svg import circle, drawing, line, path, tag, text

TITLE = "From preferences: what to expect"
PICTURE = "cartpole_from_preferences.svg"
MOST, GOOD, CHANCE = (
    500,
    400,
    150,
)  # the limit of a play; what a policy should reach, and a control should not
STYLE = """
.m{font:12px sans-serif;fill:#1a1a1a}.s{font:11px sans-serif;fill:#666}.axis{stroke:#ddd}.good{stroke:#2a7f62;
stroke-dasharray:3 3}.run{fill:none;stroke:#2a7f62;stroke-width:1;opacity:.28}.mid{fill:none;stroke:#1a1a1a;
stroke-width:2}.learned{fill:#2a7f62;opacity:.65}.control{fill:#c2571a;opacity:.65}.mark{stroke:#1a1a1a;
stroke-width:2}@media (prefers-color-scheme:dark){.m{fill:#eee}.s{fill:#aaa}.axis{stroke:#444}.mid,.mark{
stroke:#eee}}
"""
HEAD = (
    "| training | seeds | lowest | quartile | median | quartile | highest | at least 400 | at least 150 |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)
Runs = dict[str, dict[str, dict[str, Any]]]  # by case, by seed


def write(runs: Runs, root: Path) -> None:
    """The section and the picture. Raises SystemExit where the recipe itself is not measured."""
    if not runs.get(LEARNED.name):
        raise SystemExit("the recipe is not measured yet, so there is no page")
    (root / "docs" / PICTURE).write_text(picture(runs) + "\n", "utf-8")
    page = root / "docs" / "classic.md"
    page.write_text(with_section(page.read_text("utf-8"), TITLE, section(runs)), "utf-8")


def returns(runs: Runs, case: Case) -> list[float]:
    """Sampled returns of the case, lowest first."""
    return sorted(run["sampled"] for run in runs.get(case.name, {}).values())


def summary(values: list[float]) -> list[str]:
    """Lowest, quartiles and highest, and how many reach the two thresholds."""
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    five = [f"{value:.0f}" for value in (values[0], low, middle, high, values[-1])]
    return [*five, *(f"{sum(value >= least for value in values)}" for least in (GOOD, CHANCE))]


def row(runs: Runs, case: Case) -> str:
    values = returns(runs, case)
    seeds = sorted(int(seed) for seed in runs[case.name])
    return f"| {case.title} | {spans(seeds)} | {' | '.join(summary(values))} |\n"


def spans(seeds: list[int]) -> str:
    """[1, 2, 3, 7] -> "1–3, 7"."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)


def section(runs: Runs) -> str:
    learned = runs[LEARNED.name]
    values = returns(runs, LEARNED)
    reached = sum(value >= GOOD for value in values)
    share = wilson(reached, len(values))
    out = paragraph(
        f"Mean return of 100 plays, sampled, of {len(values)} seeds on which nothing was tuned. {reached} of "
        f"{len(values)} reach {GOOD} (95 % interval of the share: {100 * share.low:.0f} to "
        f"{100 * share.high:.0f} %). Made again by `benchmarks/bench_cartpole_preferences.py`."
    )
    out += f"![Learning curves and final returns of every seed]({PICTURE})\n\n{HEAD}"
    out += "".join(row(runs, case) for case in (LEARNED, *CONTROLS) if case.name in runs)
    out += "\n" + paragraph(
        f"All {len(values)} returns: {', '.join(f'{value:.0f}' for value in values)}.{misses(learned)}"
    )
    out += paragraph(costs(list(learned.values())))
    tried = [case for case in ABLATION if case.name in runs]
    if tried:
        out += f"### One part less\n\n{HEAD}" + "".join(row(runs, case) for case in tried)
    return out


def paragraph(words: str) -> str:
    return textwrap.fill(words, 118, break_long_words=False, break_on_hyphens=False) + "\n\n"


def misses(learned: dict[str, dict[str, Any]]) -> str:
    """How the plays of the seeds below 400 ended."""
    missed = {seed: run for seed, run in learned.items() if run["sampled"] < GOOD}
    track, tilted = (sum(run[how] for run in missed.values()) for how in ("left_the_track", "tilted"))
    if not missed:
        return ""
    return (
        f" Below {GOOD}: seed {spans(sorted(map(int, missed)))}. Of their {100 * len(missed)} plays the cart "
        f"left the track in {track} and the pole tilted in {tilted}."
    )


def costs(runs: list[dict[str, Any]]) -> str:
    """Comparisons, seconds and the speed they were measured at."""
    seconds = median(run["cpu_seconds"] for run in runs)
    speed = median(run["gflops"] for run in runs if run["gflops"])  # null: not measured
    comparisons = f"{max(run['comparisons'] for run in runs):,}".replace(",", " ")
    greedy = sum(run["greedy"] >= GOOD for run in runs)
    return (
        f"Greedy play reaches {GOOD} on {greedy}. A run asks {comparisons} comparisons. It takes "
        f"{seconds:.0f} s of processor time (median, imports and evaluation included, on a machine shared "
        f"with other work) on one thread that multiplies float32 matrices at {speed:.0f} GFLOP/s."
    )


def picture(runs: Runs) -> str:
    """Left the learning curves of every seed with their median, right the returns of recipe and controls."""
    parts = [tag("style", STYLE), *curves(runs), *strips(runs)]
    return drawing(900, 330, parts, "Learning curves and final returns of every seed")


TOP, BOTTOM = 40.0, 290.0


def height(value: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * value / MOST


def axis(left: float, right: float) -> list[str]:
    parts = []
    for value in range(0, MOST + 1, 100):
        parts.append(line((left, height(value)), (right, height(value)), "good" if value == GOOD else "axis"))
        parts.append(text(left - 6, height(value) + 4, value, class_="s", text_anchor="end"))
    return parts


def curves(runs: Runs) -> list[str]:
    left, right = 44.0, 520.0
    each = [run["curve"] for run in runs[LEARNED.name].values()]
    steps = min(len(curve) for curve in each)

    def points(curve: list[float]) -> list[tuple[float, float]]:
        return [(left + (right - left) * k / max(steps - 1, 1), height(curve[k])) for k in range(steps)]

    parts = [
        text(left, 18, f"return of a training step's plays, {len(each)} seeds", class_="m"),
        *axis(left, right),
    ]
    parts += [path(points(curve), "run") for curve in each]
    parts.append(path(points([median(curve[k] for curve in each) for k in range(steps)]), "mid"))
    for k in range(0, steps, 10):
        x = left + (right - left) * k / max(steps - 1, 1)
        parts.append(text(x, BOTTOM + 18, k, class_="s", text_anchor="middle"))
    return [
        *parts,
        text(right, BOTTOM + 34, "training step; black: the median", class_="s", text_anchor="end"),
    ]


def strips(runs: Runs) -> list[str]:
    left, right = 590.0, 880.0
    cases = [case for case in (LEARNED, *CONTROLS) if case.name in runs]
    parts = [text(left, 18, "return after training, a dot a seed", class_="m"), *axis(left, right)]
    wide = (right - left) / len(cases)
    for column, case in enumerate(cases):
        values, x = returns(runs, case), left + wide * (column + 0.5)
        kind = "learned" if case is LEARNED else "control"
        for index, value in enumerate(values):
            side = (index % 9 - 4) * wide / 14
            parts.append(circle(x + side, height(value), 3.5, kind, f"{value:.0f}"))
        middle = height(median(values))
        parts.append(line((x - wide * 0.36, middle), (x + wide * 0.36, middle), "mark"))
        parts.append(text(x, BOTTOM + 18, case.name, class_="s", text_anchor="middle"))
    return parts
