"""Training: one step of posttrain beside the same step of TRL 1.16, on the same rows and weights.

    python benchmarks/bench_training.py [--model DIR|smollm2] [--tasks sft,dpo,rm,grpo,rloo] [--steps 4]
        [--dtype float32] [--theirs float32] [--isa avx2]

A and B take turns in one process: after every step of TRL's own trainer, timed by its callbacks, posttrain
makes a step on rows of the same lengths. The figure is the ratio of the medians. ``--clock cpu`` counts the
processor time of this process, which a busy machine does not lengthen; take it with ``--threads 1``.
``--most`` makes our steps once more and counts their matrix products: how many times faster than TRL we could
be if nothing else took time and each ran at the speed of a large one. The task
``ppo`` needs TRL 1.12, the last that had it: run it with the Python of an environment of its own. Writes
benchmarks/results/training-MODEL-OURS-THEIRS[-ISA].json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from isa import add_isa, limit_isa, suffix
from operations import Operations, least_seconds
from reinforcement_tasks import grpo, ppo, rloo
from supervised_tasks import dpo, rm, sft
from training_work import SIDES, Work
from transformers import AutoTokenizer
from turns import BASE, CLOCKS, Turns, compared, keep, model_directory

TASKS = {"sft": sft, "dpo": dpo, "rm": rm, "grpo": grpo, "rloo": rloo, "ppo": ppo}
TYPES = ["float32", "bfloat16"]


def options(parser: argparse.ArgumentParser, tasks: str, steps: int) -> None:
    """What says how much work there is, and in which types."""
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--tasks", default=tasks)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--dtype", default="float32", choices=TYPES)
    parser.add_argument("--theirs", default=None, choices=TYPES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    add_isa(parser)
    for name, size in (("rows", 8), ("prompt", 60), ("answer", 48), ("group", 4)):
        parser.add_argument(f"--{name}", type=int, default=size)


def work_of(ask: argparse.Namespace, lora: bool = False) -> Work:
    limit_isa(ask.isa)
    torch.set_num_threads(ask.threads)
    model = model_directory(ask.model)
    return Work(
        model=model,
        dtype=ask.dtype,
        theirs_dtype=ask.theirs or ask.dtype,
        steps=ask.steps,
        sizes={name: getattr(ask, name) for name in ("rows", "prompt", "answer", "group")},
        vocabulary=len(AutoTokenizer.from_pretrained(model)),
        lora=lora,
    )


def measured(sides: SIDES, turns: Turns) -> dict[str, Any]:
    theirs, mine = sides
    trainer = theirs()
    turns.mine = mine()
    trainer.add_callback(turns)
    trainer.train()
    return compared(turns.seconds)


def products(sides: SIDES) -> dict[str, float]:
    """Operations of a step's matrix products by type: the mean of all steps but the first."""
    _, mine = sides
    steps: list[Counter[str]] = []
    loop = mine()
    while True:
        with Operations() as made:
            if next(loop, None) is None:
                break
        steps.append(made.count)
    return {kind: statistics.mean(step[kind] for step in steps[1:]) for kind in steps[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options(parser, "sft,dpo,rm,grpo,rloo", 4)
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS))
    parser.add_argument("--most", action="store_true", help="count matrix products too")
    ask = parser.parse_args()
    work = work_of(ask)
    file = f"training-{Path(work.model).name}-{work.dtype}-{work.theirs_dtype}{suffix(ask.isa)}.json"
    for task in ask.tasks.split(","):
        with tempfile.TemporaryDirectory() as where:
            result = measured(TASKS[task](work, where), Turns(None, CLOCKS[ask.clock]))
            if ask.most:
                result["products"] = products(TASKS[task](work, where))
                least = least_seconds(result["products"], CLOCKS[ask.clock])
                result["most"] = result["medians"]["trl"] / least
        keep(file, task, {"work": work.sizes, **result, "threads": ask.threads, "clock": ask.clock})
        print(
            f"{task:5s} posttrain {result['medians']['posttrain']:8.3f} s   "
            f"trl {result['medians']['trl']:8.3f} s   ratio {result['ratio']:.2f}"
            + (f" of {result['most']:.2f} that products allow" if ask.most else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
