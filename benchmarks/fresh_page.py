"""The figures on fresh seeds as a table between two marks of each recipe's page."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fresh_cases import CASES, Case, Quoted

BEGIN, END = "<!-- fresh seeds: begin -->", "<!-- fresh seeds: end -->"
HEAD = """## On fresh seeds

Nothing was tuned on these seeds. Medians, from the lowest to the highest seed in brackets; made again, and
this section written, by `python benchmarks/fresh_seeds.py --recipes {keys} --write-docs`.
"""
Results = Mapping[str, Mapping[int, Mapping[str, Any]]]  # case to seed to what was measured


@dataclass(frozen=True)
class Spread:
    """A figure over seeds, in the table's unit."""

    quoted: Quoted
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def outside(self) -> bool:
        """Whether the median is outside the interval that the page quotes."""
        span = self.quoted.interval
        return span is not None and not span[0] <= self.median <= span[1]

    def text(self) -> str:
        low, high = min(self.values), max(self.values)
        return (
            f"{self._number(self.median)}{self.quoted.shown[2]} [{self._number(low)}, {self._number(high)}]"
        )

    def warning(self) -> str:
        """The page's interval, where the median is outside of it."""
        if not self.outside or self.quoted.interval is None:
            return ""
        low, high = map(self._number, self.quoted.interval)
        return f"**outside the {low} to {high} quoted for seeds 0 to 2**"

    def _number(self, value: float) -> str:
        return f"{value:.{self.quoted.shown[1]}f}".replace("-", "−")


def spreads(case: Case, runs: Mapping[int, Mapping[str, Any]]) -> list[Spread]:
    """Each of the case's figures over the seeds that have it, in the order of the page."""
    made = []
    for quoted in case.figures:
        values = [run["figures"].get(quoted.name) for _, run in sorted(runs.items())]
        numbers = tuple(quoted.value(float(v)) for v in values if isinstance(v, int | float))
        if numbers:
            made.append(Spread(quoted, numbers))
    return made


def flagged(results: Results) -> list[str]:
    """A line for every figure whose median is outside of what its page quotes."""
    return [
        f"docs/{case.page}.md, {case.title}: {spread.quoted.label}: {spread.text()}, {spread.warning()}"
        for case in CASES
        for spread in spreads(case, results.get(case.key, {}))
        if spread.outside
    ]


def write(results: Results, root: Path) -> list[Path]:
    """Writes the section of every page that something was measured for; the pages that changed."""
    changed = []
    for page in dict.fromkeys(case.page for case in CASES):
        cases = [case for case in CASES if case.page == page and results.get(case.key)]
        if not cases:
            continue
        path = root / "docs" / f"{page}.md"
        before = path.read_text("utf-8")
        after = with_section(before, section(cases, results))
        if after != before:
            path.write_text(after, "utf-8")
            changed.append(path)
    return changed


def section(cases: Sequence[Case], results: Results) -> str:
    out = HEAD.format(keys=",".join(case.key for case in cases))
    for case in cases:
        runs = results[case.key]
        command = " ".join(["posttrain run", case.recipe, *case.settings])
        out += f"\n`{command}`, {seeds(sorted(runs))}:\n\n| | median [range] | |\n|---|--:|---|\n"
        for spread in spreads(case, runs):
            out += f"| {spread.quoted.label} | {spread.text()} | {spread.warning()} |\n"
        out += cost(runs)
        failed = [
            f"`{gate}` on seed {seed}" for seed, run in sorted(runs.items()) for gate in run["failed_gates"]
        ]
        out += f"\nGates that failed: {', '.join(failed)}.\n" if failed else "\nEvery gate passed.\n"
    return out


def seeds(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"seeds {numbers[0]} to {numbers[-1]}"
    return f"seed{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def cost(runs: Mapping[int, Mapping[str, Any]]) -> str:
    """The work of a run: processor seconds of all its stages, at the speed of one thread there."""
    seconds = [run["processor_seconds"] for run in runs.values() if run.get("threads") == 1]
    if not seconds:
        return ""
    gflops = statistics.median(run["gflops"] for run in runs.values() if run.get("threads") == 1)
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    spread = f"{middle:.0f} [{low:.0f}, {high:.0f}]"
    return f"| processor seconds, one thread at {gflops:.0f} GFLOP/s | {spread} | |\n"


def with_section(page: str, body: str) -> str:
    """The page with the section between its marks, or at its end."""
    written = f"{BEGIN}\n{body.strip()}\n{END}"
    pattern = rf"(?s){re.escape(BEGIN)}.*?{re.escape(END)}"
    if re.search(pattern, page):
        return re.sub(pattern, lambda _: written, page)
    return f"{page.rstrip()}\n\n{written}\n"
