"""Memory: the most that a training step of posttrain needs beside TRL's, each in a process of its own.

    python benchmarks/bench_memory.py [--model DIR|smollm2] [--tasks sft,dpo,rm,grpo] [--dtype float32]

The figure is the highest resident memory of a process that makes its models and two steps, less what is
resident when everything is imported and no model is there yet. posttrain is measured with all weights moving
and with its roles as adapters on one trunk (``lora``). The task ``ppo`` needs TRL 1.12 in the Python that
runs this. Writes benchmarks/results/memory-MODEL-OURS-THEIRS[-ISA].json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import trl  # noqa: F401  # what both sides have imported does not count
from bench_training import TASKS, options, work_of
from isa import suffix
from turns import Turns, keep, peak_bytes, resident_bytes

SIDES = ("trl", "posttrain", "posttrain lora")


def alone(task: str, side: str, ask: argparse.Namespace) -> int:
    """Bytes that two steps of one side need, in this process."""
    work = work_of(ask, lora="lora" in side)
    with tempfile.TemporaryDirectory() as where:
        theirs, mine = TASKS[task](work, where)
        before = resident_bytes()
        if side == "trl":
            trainer = theirs()
            trainer.add_callback(Turns(None, lambda: 0.0))
            trainer.train()
        else:
            for _ in mine():
                pass
    return peak_bytes() - before


def measured(task: str, side: str) -> int:
    """The same, in a process of its own with the options of this one."""
    command = [sys.executable, __file__, *sys.argv[1:], "--alone", task, side]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options(parser, "sft,dpo,rm,grpo", 1)
    parser.add_argument("--alone", nargs=2, metavar=("TASK", "SIDE"), help=argparse.SUPPRESS)
    ask = parser.parse_args()
    if ask.alone:
        print(alone(*ask.alone, ask))
        return
    work = work_of(ask)
    file = f"memory-{Path(work.model).name}-{work.dtype}-{work.theirs_dtype}{suffix(ask.isa)}.json"
    for task in ask.tasks.split(","):
        peaks = {side: measured(task, side) for side in SIDES}
        shares = {side: peaks[side] / peaks["trl"] for side in SIDES[1:]}
        keep(file, task, {"work": work.sizes, "bytes": peaks, "shares": shares})
        print(
            f"{task:5s} trl {peaks['trl'] / 2**20:8.0f} MiB   "
            + "   ".join(f"{side} {peaks[side] / 2**20:.0f} ({shares[side]:.2f})" for side in SIDES[1:]),
            flush=True,
        )


if __name__ == "__main__":
    main()
