"""Every figure that a recipe's page quotes, made again on seeds that nothing was tuned on.

    python benchmarks/fresh_seeds.py [--recipes instructgpt,tulu3] [--seeds 101,102] [--threads 1]
        [--workspace DIR] [--dry-run] [--rehearse] [--write-docs] [--list]

A run is a recipe's command with a seed, through the same runner as ``posttrain run``; gates may fail and are
written down. What was measured with the present settings is not measured again, and a run that was stopped
goes on with its first stage that is not made, so the same command may be given until it is done, and several
at a time with different seeds or recipes. Each run is a file, benchmarks/results/fresh_seeds/CASE-SEED.json.
With ``--write-docs`` the medians and ranges of what is measured go into the recipes' pages (nothing is run
without ``--recipes`` or ``--seeds`` beside it). A figure whose median is outside the interval that its page
quotes is named at the end. ``--rehearse`` makes every recipe small and names figures that it does not have.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from fresh_cases import CASES, Case  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "fresh_seeds"
FRESH = (101, 102, 103, 104, 105)
RUN = tuple(case for case in CASES if not case.elsewhere)


class Bench:
    """Runs of cases in one workspace, and what is known of them."""

    def __init__(self, workspace: str, threads: int, quiet: bool = False, results: Path = RESULTS) -> None:
        from posttrain.pipeline.store import Workspace

        self.workspace, self.threads, self.quiet = Workspace(workspace), threads, quiet
        self.results = results

    def pipeline(self, case: Case, seed: int) -> Any:
        """The case's stages with their fingerprints."""
        from posttrain import settings
        from posttrain.cli import find_recipe
        from posttrain.pipeline.plan import Pipeline

        wishes = settings.parse(case.wishes(seed))
        return Pipeline(settings.expression(find_recipe(case.recipe), wishes), self.workspace)

    def file(self, case: Case, seed: int) -> Path:
        return self.results / f"{case.key}-{seed}.json"

    def measured(self, case: Case, seed: int) -> dict[str, Any] | None:
        """What is known of the case and seed with its present settings."""
        file = self.file(case, seed)
        if not file.exists():
            return None
        result: dict[str, Any] = json.loads(file.read_text("utf-8"))
        present = list(self.pipeline(case, seed).fingerprint.values())[-1]
        return result if result["fingerprint"] == present else None

    def run(self, case: Case, seed: int) -> dict[str, Any]:
        """Measures a case with a seed and writes it down."""
        from posttrain.pipeline.runner import run
        from posttrain.pipeline.stage import Machine

        pipeline = self.pipeline(case, seed)
        last = list(pipeline.stages)[-1]
        done = run(
            pipeline.stages[last],
            self.workspace,
            Machine(threads=self.threads, quiet=True),
            recipe=case.recipe,
            overrides=case.wishes(seed),
            accept=None,
            say=(lambda text: None) if self.quiet else (lambda text: print(f"    {text}", flush=True)),
        )
        result = {
            "case": case.title,
            "seed": seed,
            "fingerprint": pipeline.fingerprint[last],
            "figures": figures(case, done.products),
            "failed_gates": list(done.record["accepted_gates"]),
            "seconds": round(sum(p.made["seconds"] for p in done.products.values()), 1),
            "processor_seconds": round(
                sum(p.made.get("processor_seconds", 0.0) for p in done.products.values()), 1
            ),
            "threads": self.threads,
            "gflops": round(speed(self.threads) / 1e9, 1),
        }
        self.results.mkdir(parents=True, exist_ok=True)
        draft = self.file(case, seed).with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        draft.replace(self.file(case, seed))
        return result


def figures(case: Case, products: Any) -> dict[str, float]:
    """The case's figures by name. Raises SystemExit for one that the run does not have."""
    values, missing = sought(case, products)
    if missing:
        raise SystemExit(f"{case.title}: the run has no figure {', '.join(missing)}; see fresh_cases.py")
    return values


def sought(case: Case, products: Any) -> tuple[dict[str, float], list[str]]:
    """The case's figures by name, and the names of those that the run does not have."""
    values, missing = {}, []
    for quoted in case.figures:
        address, _, name = quoted.name.partition(".")
        value = products[address].values.get(name) if address in products else None
        if isinstance(value, int | float):
            values[quoted.name] = float(value)
        else:
            missing.append(quoted.name)
    return values, missing


def speed(threads: int) -> float:
    """Operations a second of float32 matrix products by the processor's clock, times the threads: what the
    machine would do if nothing else ran on it.
    """
    import torch

    a, b = torch.ones(1024, 512), torch.ones(512, 512)
    float((a @ b)[0, 0])  # the first one sets things up
    began, products = time.process_time(), 0
    while time.process_time() - began < 0.2 * threads:
        float((a @ b)[0, 0])
        products += 1
    return threads * products * 2 * a.numel() * b.shape[1] / (time.process_time() - began)


def all_results(bench: Bench) -> dict[str, dict[int, dict[str, Any]]]:
    """Everything that was measured, also with seeds that nobody asked for now."""
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for case in RUN:
        for file in sorted(bench.results.glob(f"{case.key}-*.json")):
            seed = file.stem.removeprefix(f"{case.key}-")
            run = bench.measured(case, int(seed)) if seed.isdigit() else None
            if run is not None:
                results.setdefault(case.key, {})[int(seed)] = run
    return results


def rehearse(cases: Sequence[Case], threads: int) -> None:
    """Every recipe made small, and the figures that it does not have (pass@64 needs more answers)."""
    from posttrain.checks.doctor import rehearsed
    from posttrain.pipeline.runner import run
    from posttrain.pipeline.stage import Machine
    from posttrain.pipeline.store import Workspace

    with tempfile.TemporaryDirectory(prefix="posttrain-fresh-") as scratch:
        bench = Bench(scratch, threads)
        for case in cases:
            small = rehearsed(list(bench.pipeline(case, 0).stages.values())[-1])
            machine = Machine(threads=threads, quiet=True)
            done = run(small, Workspace(scratch), machine, accept=None, say=lambda text: None)
            values, missing = sought(case, done.products)
            lacks = f", but not {', '.join(missing)}" if missing else ""
            print(f"{case.title}: {len(values)} of {len(case.figures)} figures{lacks}", flush=True)


def chosen(names: str) -> list[Case]:
    """The cases of these recipes or keys, all without a word. Raises SystemExit for an unknown one."""
    wanted = [word.strip() for word in names.split(",") if word.strip()]
    options = {word for case in RUN for word in (case.recipe, case.key)}
    if strange := [word for word in wanted if word not in options]:
        raise SystemExit(f"{', '.join(strange)}: expected of {', '.join(sorted(options))}")
    keys = {case.key for case in RUN}
    return [
        case
        for case in RUN
        if not wanted or case.key in wanted or (case.recipe in wanted and case.recipe not in keys)
    ]


def measure(bench: Bench, todo: Sequence[tuple[Case, int]]) -> None:
    """One run after another, each with the time that the rest will take at the pace so far."""
    began, spent = time.monotonic(), 0.0
    left = sum(case.minutes for case, _ in todo)
    for number, (case, seed) in enumerate(todo, start=1):
        pace = (time.monotonic() - began) / 60 / spent if spent else 1.0
        head = f"[{number}/{len(todo)}, about {left * pace:.0f} minutes left]"
        print(f"{head} {case.title}, seed {seed}", flush=True)
        result = bench.run(case, seed)
        print(f"    {result['seconds']:.0f} s, {result['processor_seconds']:.0f} of a processor", flush=True)
        left, spent = left - case.minutes, spent + case.minutes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", default="", metavar="NAMES", help="recipes or cases, see --list")
    parser.add_argument("--seeds", default="", metavar="N,N", help=f"default {','.join(map(str, FRESH))}")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--workspace", default=str(ROOT / "build" / "fresh_seeds"), metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    parser.add_argument("--rehearse", action="store_true", help="look whether recipes have their figures")
    parser.add_argument("--write-docs", action="store_true", help="write the sections of the pages")
    parser.add_argument("--list", action="store_true", help="the cases")
    ask = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(ask.threads)
    if ask.list:
        for case in CASES:
            cost = f"not run here: {case.elsewhere}" if case.elsewhere else f"{case.minutes:g} minutes"
            print(f"{case.key}: {' '.join([case.recipe, *case.settings])}, docs/{case.page}.md, {cost}")
        return
    cases = chosen(ask.recipes)
    if ask.rehearse:
        return rehearse(cases, ask.threads)
    numbers = [int(word) for word in ask.seeds.split(",") if word.strip()] or list(FRESH)
    bench = Bench(ask.workspace, ask.threads)
    runs = [(case, seed) for case in cases for seed in numbers]
    todo = [(case, seed) for case, seed in runs if bench.measured(case, seed) is None]
    minutes = sum(case.minutes for case, _ in todo)
    print(f"{len(runs) - len(todo)} of {len(runs)} runs are known; {minutes:.0f} minutes of a processor left")
    if ask.dry_run:
        for case, seed in todo:
            print(f"posttrain run {' '.join([case.recipe, *case.wishes(seed)])}")
        return
    if not ask.write_docs or ask.recipes or ask.seeds:
        measure(bench, todo)
    from fresh_page import flagged, write

    results = all_results(bench)
    if ask.write_docs:
        for path in write(results, ROOT):
            print(f"written: {path.relative_to(ROOT)}")
    for line in flagged(results):
        print(f"outside: {line}")


if __name__ == "__main__":
    main()
