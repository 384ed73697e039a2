"""Growth: what a whole GRPO step costs when the prompts, the length of answers or the group are doubled.

    python benchmarks/bench_growth.py [--model DIR|smollm2] [--steps 3]

Each size is doubled twice from prompts 4, answer 32, group 4, the others as they are. Sizes take turns in one
process, and the clock counts its processor time. The figure is the ratio of medians from each size to its
double. Writes benchmarks/results/growth-MODEL.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from bench_training import options, work_of
from reinforcement_tasks import grpo
from turns import keep

START = {"rows": 4, "answer": 32, "group": 4}
PROMPT = 16
DOUBLINGS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options(parser, "", 12)
    parser.set_defaults(threads=1)
    ask = parser.parse_args()
    ask.prompt = PROMPT
    work = work_of(ask)
    for name in START:
        sizes = [START[name] * 2**times for times in range(DOUBLINGS + 1)]
        loops = [grpo(replace(work, sizes=work.sizes | START | {name: size}), "")[1]() for size in sizes]
        seconds: list[list[float]] = [[] for _ in sizes]
        for turn in range(ask.steps + 1):  # the first warms up
            for index, loop in enumerate(loops):
                started = time.process_time()
                next(loop)
                if turn:
                    seconds[index].append(time.process_time() - started)
        medians = [statistics.median(values) for values in seconds]
        ratios = [after / before for before, after in pairwise(medians)]
        result = {"sizes": sizes, "others": START, "medians": medians, "ratios": ratios, "seconds": seconds}
        keep(f"growth-{Path(work.model).name}.json", name, result | {"threads": ask.threads, "clock": "cpu"})
        print(f"{name:7s} {sizes}: {'  '.join(f'{x:.3f} s' for x in medians)}   x {ratios}", flush=True)


if __name__ == "__main__":
    main()
