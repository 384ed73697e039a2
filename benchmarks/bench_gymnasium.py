"""Gymnasium's environments by the recipe ``environment``: what 100 plays earn, by seed, for docs/classic.md.

    python benchmarks/bench_gymnasium.py [--only LunarLander-v3,Taxi-v4] [--seeds 301,302,303] [--sb3]
    python benchmarks/bench_gymnasium.py --page

Each run is ``posttrain run environment`` with the options of the page, in an empty workspace, one thread.
With ``--sb3`` Stable-Baselines3's PPO at its own defaults then learns on as many steps; its Python
environment is made when asked for. Seconds are of the processor, beside the speed of float32 products on it.
Writes benchmarks/results/gymnasium.json; ``--page`` prints its table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from peers import peer
from turns import RESULTS, ROOT, keep

CASES: dict[str, list[str]] = {
    "LunarLander-v3": ["rl.steps=150"],
    "Taxi-v4": ["rl.steps=200"],
    "CliffWalking-v1": ["limit=1000", "rl.steps=60"],
    "Acrobot-v1": [],
}
FILE = "gymnasium.json"
EPISODES = 100
THEIRS = ROOT / "benchmarks" / "sb3_side.py"


def gflops() -> float:
    """Of a float32 product of 1,024 by 1,024 on one thread, in its processor time."""
    import torch

    torch.set_num_threads(1)
    one, two = torch.randn(2, 1024, 1024).unbind()
    one @ two
    started = time.process_time()
    for _ in range(10):
        one @ two
    return 10 * 2 * 1024**3 / (time.process_time() - started) / 1e9


def used() -> float:
    """Seconds of the processor that finished children took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(name: str, seed: int) -> dict[str, Any]:
    """The figures of one run of the recipe."""
    command = [sys.executable, "-m", "posttrain"]
    with tempfile.TemporaryDirectory() as workspace:
        where = ["--workspace", workspace]
        settings = [f"id={name}", *CASES[name], f"seed={seed}", f"evaluate.episodes={EPISODES}"]
        checked = ["--accept-gate", "better_than_random"]  # a run that learned nothing is a row too
        run = [*command, "run", "environment", *settings, *where, *checked, "--threads", "1", "--quiet"]
        before = used()
        subprocess.run(run, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        seconds = used() - before
        text = subprocess.run(
            [*command, "report", "--json", *where], check=True, cwd=ROOT, capture_output=True, text=True
        ).stdout
    figures = json.loads(text)
    returns = {kind: figures[f"evaluate.return/{kind}"] for kind in ("policy", "greedy", "random")}
    return {"returns": returns, "steps": figures["rl.actions"], "seconds": seconds}


def theirs(name: str, seed: int, steps: int) -> dict[str, Any]:
    """The same of Stable-Baselines3, in a process of its own."""
    limit = [option for option in CASES[name] if option.startswith("limit=")]
    command = [str(peer("sb3")), str(THEIRS), name, str(seed), str(steps), str(EPISODES), *limit]
    before, single = used(), os.environ | {"OMP_NUM_THREADS": "1"}
    text = subprocess.run(command, check=True, env=single, capture_output=True, text=True).stdout
    return {"returns": json.loads(text), "steps": steps, "seconds": used() - before}


def page(results: dict[str, Any]) -> str:
    """The table of docs/classic.md."""
    lines = [
        "| environment | seed | sampled | greedy | random | steps | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for key, row in results.items():
        name, _, rest = key.partition("/")
        earned = [f"{row['returns'][kind]:,.1f}" for kind in ("policy", "greedy")]
        chance = f"{row['returns']['random']:,.0f}" if "random" in row["returns"] else ""
        cells = [name, rest, *earned, chance, f"{row['steps']:,}", f"{row['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells).replace(' -', ' −')} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--seeds", default="301,302,303")
    parser.add_argument("--sb3", action="store_true", help="and Stable-Baselines3 at as many steps")
    parser.add_argument("--page", action="store_true", help="print the table of what is there")
    asked = parser.parse_args()
    if asked.page:
        print(page(json.loads((RESULTS / FILE).read_text("utf-8"))))
        return
    for name in asked.only.split(","):
        for seed in map(int, asked.seeds.split(",")):
            result = ours(name, seed)
            keep(FILE, f"{name}/{seed}", result | {"gflops": gflops()})
            print(name, seed, result, flush=True)
            if asked.sb3:
                other = theirs(name, seed, result["steps"])
                keep(FILE, f"{name}/{seed}, SB3", other | {"gflops": gflops()})
                print(name, seed, "SB3", other, flush=True)


if __name__ == "__main__":
    main()
