"""What does each method earn on the embedded task? All of them through ``posttrain run``, judged by gold.

    python benchmarks/bench_embedded_methods.py [--only dpo,kto] [--threads 1] [--seed 0] [--whole] [--page]

Base, instruction tuning, pairs, labels and reward model are made once and shared. Sizes are about half of the
recipe's (--whole: the recipe's own). What is measured already with these settings is not measured again.
Writes benchmarks/results/embedded_methods.json after each method, and once all are there (or with --page) the
tables of docs/choosing.md and docs/methods/*.md and docs/embedded_methods.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from embedded_cases import ADDRESS, CASES, RECIPE, Case  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "embedded_methods.json"
LEARNING_GATES = {
    "policy_gradients": ("rl_reward_rose", "rl_kl_budget"),
    "direct_alignment": ("alignment_above_chance",),
}
INTERVALS = ("gold_change/final_vs_sft", "win_rate/final_vs_sft", "gold/sft", "gold/final", "kl")


class Bench:
    """Runs cases in one workspace and keeps what was measured."""

    def __init__(self, ask: argparse.Namespace) -> None:
        from posttrain.pipeline.store import Workspace

        self.ask = ask
        self.workspace = Workspace(ask.workspace)
        self.known: dict[str, dict[str, Any]] = (
            json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else {}
        )

    def teacher(self, case: Case) -> str | None:
        """The directory that the case learns from; empty where it needs none, None where it is not made."""
        if not case.after:
            return ""
        before = next(one for one in CASES if one.title == case.after)
        directory = self.pipeline(before).place["rl"]
        return str(directory) if directory.is_dir() else None

    def pipeline(self, case: Case) -> Any:
        """The case's expression with its fingerprints; None where its teacher is not made yet."""
        from posttrain import settings
        from posttrain.cli import find_recipe
        from posttrain.pipeline.plan import Pipeline

        teacher = self.teacher(case)
        if teacher is None:
            return None
        wishes = settings.parse(case.wishes(self.ask.seed, self.ask.whole, teacher))
        return Pipeline(settings.expression(find_recipe(RECIPE[case.folder]), wishes), self.workspace)

    def measured(self, case: Case) -> dict[str, Any] | None:
        """What is known of the case with its present settings and the present base model."""
        record, pipeline = self.known.get(case.title), self.pipeline(case)
        if record is None or pipeline is None:
            return None
        return record if record["fingerprint"] == pipeline.fingerprint["evaluate"] else None

    def run(self, case: Case) -> str:
        """Measures a case and writes it down; returns one line about it."""
        from posttrain.cli import main

        teacher, pipeline = self.teacher(case), self.pipeline(case)
        if teacher is None:
            return f"not measured: its teacher is what {case.after} makes, and that is not made yet"
        accepted = () if case.after else LEARNING_GATES[case.folder]
        command = ["run", RECIPE[case.folder], *case.wishes(self.ask.seed, self.ask.whole, teacher)]
        command += [word for gate in accepted for word in ("--accept-gate", gate)]
        command += ["--workspace", str(self.workspace.root), *(["--quiet"] if self.ask.quiet else [])]
        print(f"$ posttrain {' '.join(command)}", flush=True)
        if main(command):
            return "not measured: the run did not come to its end"
        self.known[case.title] = self._figures(case, pipeline)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"runs": self.known}, indent=1) + "\n")
        return summary(self.known[case.title])

    def _figures(self, case: Case, pipeline: Any) -> dict[str, Any]:
        from posttrain.metrics import flat
        from posttrain.pipeline.store import Product

        made = {address: Product.load(path) for address, path in pipeline.place.items()}
        learned, judged = ADDRESS[case.folder], flat(made["evaluate"].metrics)
        gates = pipeline.stages[learned].gates(made[learned].report)
        figures: dict[str, Any] = {
            name: [judged[name], judged[f"{name}_low"], judged[f"{name}_high"]] for name in INTERVALS
        }
        return figures | {
            "fingerprint": pipeline.fingerprint["evaluate"],
            "seed": self.ask.seed,
            "whole": self.ask.whole,
            "prompts": judged["prompts"],
            "words": [judged["words/sft"], judged["words/final"]],
            "ends": judged["ends/final"],
            "seconds": made[learned].made["seconds"],
            "seconds_before": sum(made[one].made["seconds"] for one in ("sft", "pairs", "labels")),
            "seconds_rm": made["rm"].made["seconds"],
            "threads": self.ask.threads or os.cpu_count(),
            "failed_gates": [gate.name for gate in gates if not gate.passed],
        }


def summary(figures: dict[str, Any]) -> str:
    change, low, high = figures["gold_change/final_vs_sft"]
    return (
        f"gold {figures['gold/sft'][0]:.3f} -> {figures['gold/final'][0]:.3f} ({change:+.3f}, {low:+.3f} to "
        f"{high:+.3f}), wins {figures['win_rate/final_vs_sft'][0]:.3f}, KL {figures['kl'][0]:.2f}, "
        f"{figures['words'][1]:.1f} words, {figures['seconds']:.0f} s"
    )


def chosen(only: str) -> list[Case]:
    """The cases of these methods, or of these titles; all without a word."""
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    names = {name for case in CASES for name in (case.method, case.title)}
    strange = [word for word in wanted if word not in names]
    if strange:
        raise SystemExit(
            f"--only {strange[0]}: there is no such method; there is: {', '.join(sorted(names))}"
        )
    return [case for case in CASES if not wanted or case.method in wanted or case.title in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="methods, separated by commas")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="the recipe's own sizes")
    parser.add_argument("--page", action="store_true", help="write the page from what is measured so far")
    parser.add_argument("--quiet", action="store_true", help="no progress of the stages")
    parser.add_argument("--workspace", default=str(ROOT / "build" / "embedded_methods"))
    ask = parser.parse_args()
    if ask.threads:  # before anything imports torch
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(ask.threads)
    began, bench = time.perf_counter(), Bench(ask)
    todo = [] if ask.page and not ask.only else chosen(ask.only)
    for number, case in enumerate(todo, start=1):
        record = bench.measured(case)
        line = summary(record) + " (known)" if record else bench.run(case)
        minutes = (time.perf_counter() - began) / 60
        print(f"[{number}/{len(todo)}, {minutes:.0f} min] {case.title}: {line}", flush=True)
    records = {case.title: bench.measured(case) for case in CASES}
    missing = [title for title, record in records.items() if record is None]
    if ask.page or not missing:
        from embedded_page import write

        write(records, ROOT)
    else:
        print(f"not measured yet: {', '.join(missing)}; the page is written when all are, or with --page")


if __name__ == "__main__":
    main()
