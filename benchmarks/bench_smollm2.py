"""The recipe on the real small model, seed after seed, against what it has to show.

    python benchmarks/bench_smollm2.py SEED [SEED ...] [--workspace DIR] [--threads 2]

Each seed is ``posttrain run instructgpt model=smollm2 seed=SEED`` in one workspace, so a run that was
stopped goes on with the first stage that is not made. Prints a table, and writes
benchmarks/results/smollm2.json: the figures of every seed, seconds, and the machine's matrix speed before
and after, since the time is required at 200 GFLOP/s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turns import keep

SPEED, MINUTES = 200.0, 40.0  # GFLOP/s, and what a seed may take at that speed


@dataclass(frozen=True)
class Requirement:
    says: str
    figure: str
    least: float = float("-inf")
    most: float = float("inf")
    beyond: str = ""  # least is above this figure

    def met(self, figures: Mapping[str, Any]) -> bool | None:
        """None where the figure is not known."""
        value, other = figures.get(self.figure), figures.get(self.beyond, 0.0) if self.beyond else 0.0
        if isinstance(value, str) or isinstance(other, str) or value is None or other is None:
            return None
        return bool(self.least + other <= value <= self.most)


REQUIREMENTS = (
    Requirement("gold ties of what is learned from", "evaluate.comparisons_gold_tied_share", most=0.10),
    Requirement("reward model, clear held-out pairs", "evaluate.accuracy/clear", least=0.85),
    Requirement("how many of them", "evaluate.accuracy/clear_n", least=400),
    Requirement("reward model, the final policy's answers", "evaluate.accuracy_on_policy", least=0.75),
    Requirement(
        "reward model above words alone",
        "evaluate.accuracy/clear",
        least=0.05,
        beyond="evaluate.control/bag_of_words/clear",
    ),
    Requirement("final against SFT", "evaluate.win_rate/final_vs_sft", least=0.70),
    Requirement("its interval begins above", "evaluate.win_rate/final_vs_sft_low", least=0.60),
    Requirement("held-out prompts", "evaluate.prompts", least=240),
    Requirement("KL, nats", "evaluate.kl", most=4.0),
    Requirement("worst family's change of gold", "evaluate.family_change_worst", least=0.0),
    Requirement("minutes at 200 GFLOP/s", "minutes", most=MINUTES),
)


def matrix_speed(threads: int) -> float:
    """GFLOP/s of a large float32 product, the best of five."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * 2048**3 / min(seconds) / 1e9


def one(seed: int, workspace: Path, threads: int) -> dict[str, Any]:
    """The figures of a seed's run. Raises CalledProcessError where the run fails."""
    before = matrix_speed(threads)
    program = [sys.executable, "-m", "posttrain"]
    recipe = ["run", "instructgpt", "model=smollm2", f"seed={seed}", "--threads", str(threads), "--quiet"]
    subprocess.run([*program, *recipe, "--workspace", str(workspace)], check=True)
    report = subprocess.run(
        [*program, "report", "--json", "--workspace", str(workspace)],
        check=True,
        capture_output=True,
        text=True,
    )
    figures: dict[str, Any] = json.loads(report.stdout)
    speed = min(before, matrix_speed(threads))
    seconds = sum(
        float(value) for name, value in figures.items() if name.endswith(".seconds") and name != "run.seconds"
    )
    # what other programs took of the machine is in both factors, so it cancels as far as it is steady
    return figures | {"seconds": seconds, "gflops": speed, "minutes": seconds / 60 * speed / SPEED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--threads", type=int, default=2)
    ask = parser.parse_args()
    for seed in ask.seeds:
        figures = one(seed, ask.workspace, ask.threads)
        print(f"seed {seed}, {figures['gflops']:.0f} GFLOP/s")
        for wanted in REQUIREMENTS:
            met = {True: "met", False: "not met", None: "unknown"}[wanted.met(figures)]
            value = figures.get(wanted.figure, "unknown")
            shown = value if isinstance(value, str) else f"{value:.4g}"
            print(f"  {wanted.says:45s} {shown:>10s}  {met}", flush=True)
        keep("smollm2.json", f"seed {seed}", figures | {"threads": ask.threads})


if __name__ == "__main__":
    main()
