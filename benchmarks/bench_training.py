"""Training: one step of posttrain beside the same step of TRL 1.16, on the same rows and weights.

    python benchmarks/bench_training.py [--model DIR|smollm2] [--tasks sft,dpo,rm,grpo,rloo] [--steps 4]
        [--dtype float32] [--theirs float32]

A and B take turns in one process: after every step of TRL's own trainer, timed by its callbacks, posttrain
makes a step on rows of the same lengths. The figure is the ratio of the medians. ``--clock cpu`` counts the
processor time of this process, which a busy machine does not lengthen; take it with ``--threads 1``. The task
``ppo`` needs TRL 1.12, the last that had it: run it with the Python of an environment of its own. Writes
benchmarks/results/training-MODEL-OURS-THEIRS.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
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
    for name, size in (("rows", 8), ("prompt", 60), ("answer", 48), ("group", 4)):
        parser.add_argument(f"--{name}", type=int, default=size)


def work_of(ask: argparse.Namespace, lora: bool = False) -> Work:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options(parser, "sft,dpo,rm,grpo,rloo", 4)
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS))
    ask = parser.parse_args()
    work = work_of(ask)
    file = f"training-{Path(work.model).name}-{work.dtype}-{work.theirs_dtype}.json"
    for task in ask.tasks.split(","):
        with tempfile.TemporaryDirectory() as where:
            found = measured(TASKS[task](work, where), Turns(None, CLOCKS[ask.clock]))
        keep(file, task, {"work": work.sizes, **found, "threads": ask.threads, "clock": ask.clock})
        print(
            f"{task:5s} posttrain {found['medians']['posttrain']:8.3f} s   "
            f"trl {found['medians']['trl']:8.3f} s   ratio {found['ratio']:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
