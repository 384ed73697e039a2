"""What may a user expect of ``posttrain run cartpole_from_preferences``? The return over many seeds.

    python benchmarks/bench_cartpole_preferences.py [--cases learned,shuffled] [--seeds 1001-1040] [--page]

Each seed is a whole ``posttrain run`` on one thread, with its wall and processor time and the machine's speed
in float32 matrix products beside it. What is measured already with these settings is not measured again, so a
bench that was stopped goes on, and several may work on different seeds at once. Writes
benchmarks/results/cartpole_preferences.json after each seed; with --page also the section of docs/classic.md
and docs/cartpole_from_preferences.svg.
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
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # before anything imports torch
    os.environ[variable] = "1"

from preferences_cases import CASES, Case  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "cartpole_preferences.json"
SIZE = 1024  # of the square matrices whose product is timed
Runs = dict[str, dict[str, dict[str, Any]]]  # by case, by seed


class Bench:
    """Runs seeds, each in a workspace of its own, and gathers what all of them found."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fingerprint(self, case: Case, seed: int) -> str:
        from posttrain import settings
        from posttrain.cli import find_recipe
        from posttrain.pipeline.plan import Pipeline
        from posttrain.pipeline.store import Workspace

        recipe, *overrides = case.command(seed)
        expression = settings.expression(find_recipe(recipe), settings.parse(overrides))
        pipeline = Pipeline(expression, Workspace(self.directory / f"{case.name}-{seed}"))
        return pipeline.fingerprint["evaluate"]

    def run(self, case: Case, seed: int) -> dict[str, Any]:
        """Trains and judges one seed, and writes it down."""
        from posttrain.cli import main

        workspace = self.directory / f"{case.name}-{seed}"
        command = ["run", *case.command(seed), "--threads", "1", "--workspace", str(workspace), "--quiet"]
        command += [word for gate in case.accepts for word in ("--accept-gate", gate)]
        speed = gigaflops()
        wall, busy = time.perf_counter(), time.process_time()
        if main(command):
            raise SystemExit(f"posttrain {' '.join(command)} did not come to its end")
        measured = {
            "fingerprint": self.fingerprint(case, seed),
            "seconds": round(time.perf_counter() - wall, 1),
            "cpu_seconds": round(time.process_time() - busy, 1),
            "gflops": round(max(speed, gigaflops()), 1),
            **metrics(workspace),
        }
        (workspace / "measured.json").write_text(json.dumps(measured) + "\n")
        return measured

    def gather(self) -> Runs:
        """What the results file has, and what the workspaces have; written to the results file."""
        runs: Runs = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else {}
        for path in self.directory.glob("*/measured.json"):
            name, _, seed = path.parent.name.rpartition("-")
            runs.setdefault(name, {})[seed] = json.loads(path.read_text())
        order = [case.name for case in CASES]
        runs = {
            name: dict(sorted(runs[name].items(), key=lambda pair: int(pair[0])))
            for name in sorted(runs, key=order.index)
        }
        RESULTS.parent.mkdir(exist_ok=True)
        fresh = RESULTS.with_suffix(f".{os.getpid()}.tmp")  # several benches may write at once
        fresh.write_text(as_text(runs))
        fresh.replace(RESULTS)
        return runs

    def current(self, runs: Runs) -> Runs:
        """Those that were measured with the present settings."""
        by_name = {case.name: case for case in CASES}
        fresh = {
            name: {
                seed: run
                for seed, run in seeds.items()
                if run["fingerprint"] == self.fingerprint(by_name[name], int(seed))
            }
            for name, seeds in runs.items()
        }
        return {name: seeds for name, seeds in fresh.items() if seeds}


def as_text(runs: Runs) -> str:
    """JSON with a seed a line."""
    cases = [
        f' "{name}": {{\n'
        + ",\n".join(f'  "{seed}": {json.dumps(run)}' for seed, run in seeds.items())
        + "\n }"
        for name, seeds in runs.items()
    ]
    return '{"runs": {\n' + ",\n".join(cases) + "\n}}\n"


def metrics(workspace: Path) -> dict[str, Any]:
    """Returns of the evaluation and of each training step, and how its plays ended."""
    from posttrain.pipeline.store import Product

    trained, judged = (
        Product.load(next(workspace.glob(f"products/{name}-*"))) for name in ("rl", "evaluate")
    )
    curve: dict[int, float] = {}
    for text in (trained.path / "metrics.jsonl").read_text().splitlines():
        row = json.loads(text)
        curve.setdefault(row["step"], row["return"])
    return {
        "sampled": round(float(judged.values["return/policy"]), 2),
        "greedy": round(float(judged.values["return/greedy"]), 2),
        "random": round(float(judged.values["return/random"]), 2),
        "comparisons": trained.values["comparisons"],
        **endings(trained.path, int(judged.settings["seed"])),
        "curve": [round(curve[step]) for step in sorted(curve)],
    }


def endings(policy: Path, seed: int) -> dict[str, int]:
    """Of the plays of the evaluation: in how many the pole tilted, in how many the cart left the track."""
    import torch

    from posttrain.core.seeds import derive
    from posttrain.environments.cartpole import FAR, CartPole
    from posttrain.models.mlp import OBSERVATIONS, MLPPolicy
    from posttrain.rollouts.play import play

    seeds = [derive(seed, "evaluate", row) for row in range(100)]
    plays = play(CartPole(), MLPPolicy.load(policy), seeds)
    last = plays.action_mask.sum(1)
    position = plays.context[OBSERVATIONS][torch.arange(len(plays)), last, 0].abs()
    ended, outside = ~plays.truncated, position > FAR
    return {"tilted": int((ended & ~outside).sum()), "left_the_track": int((ended & outside).sum())}


def gigaflops() -> float:
    """GFLOP/s of a float32 matrix product in a second of one thread's time: the best of eight."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    best = float("inf")
    for _ in range(8):
        began = time.process_time()
        a @ b
        best = min(best, time.process_time() - began)
    return 2 * SIZE**3 / best / 1e9


def seeds_of(words: str) -> list[int]:
    """ "3,1001-1040" -> the numbers. Raises SystemExit where a part is neither a number nor a range."""
    seeds: list[int] = []
    for word in words.split(","):
        first, _, last = word.partition("-")
        try:
            seeds += range(int(first), int(last or first) + 1)
        except ValueError:
            raise SystemExit(f"--seeds {word}: expected a number or a range such as 1001-1040") from None
    return seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cases", default="learned", help="separated by commas: " + ", ".join(c.name for c in CASES)
    )
    parser.add_argument(
        "--seeds", default="1001-1040", help="such as 1001-1040 or 3,5 (none: measure nothing)"
    )
    parser.add_argument("--page", action="store_true", help="write the page from what is measured so far")
    parser.add_argument("--workspace", default=str(ROOT / "build" / "cartpole_preferences"))
    ask = parser.parse_args()
    by_name = {case.name: case for case in CASES}
    names = ask.cases.split(",")
    if strange := [name for name in names if name not in by_name]:
        parser.error(f"--cases {strange[0]}: expected of {', '.join(by_name)}")
    bench = Bench(Path(ask.workspace))
    todo = (
        [(by_name[name], seed) for name in names for seed in seeds_of(ask.seeds)]
        if ask.seeds != "none"
        else []
    )
    for number, (case, seed) in enumerate(todo, start=1):
        earlier = bench.gather().get(case.name, {}).get(str(seed))
        again = earlier is None or earlier["fingerprint"] != bench.fingerprint(case, seed)
        run = bench.run(case, seed) if again else earlier
        assert run is not None
        print(
            f"[{number}/{len(todo)}] {case.name} {seed}: sampled {run['sampled']}, greedy {run['greedy']}, "
            f"{run['comparisons']} comparisons, {run['cpu_seconds']} s of CPU{'' if again else ' (known)'}",
            flush=True,
        )
    runs = bench.gather()
    if ask.page:
        from preferences_page import write

        write(bench.current(runs), ROOT)


if __name__ == "__main__":
    main()
