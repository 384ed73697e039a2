"""The start: how soon the command line answers, and how soon a run makes its first training step.

    python benchmarks/bench_start.py [--model DIR|smollm2] [--threads 2]

``posttrain --help`` is asked five times. Then the recipe ``instructgpt`` runs on the model (as the recipe has
it for ``smollm2``, which was fetched before) until the first line of its metrics is on disk, and is
interrupted: ``first_step`` in an empty workspace, ``again`` in the same one, where the base is made already.
Seconds on the wall and of the processor: a busy machine lengthens the first alone. Writes
benchmarks/results/start-MODEL.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import BASE, ROOT, keep, model_directory

COMMAND = [sys.executable, "-m", "posttrain"]
PATIENCE = 600.0  # seconds


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def helped() -> dict[str, float]:
    """Seconds until ``--help`` has been answered: medians."""
    wall, processor = [], []
    for _ in range(5):
        started, before = time.perf_counter(), _used()
        subprocess.run([*COMMAND, "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        wall.append(time.perf_counter() - started)
        processor.append(_used() - before)
    return {"wall": statistics.median(wall), "processor": statistics.median(processor)}


def first_steps(asked: str, threads: int) -> list[dict[str, float]]:
    """Seconds until the first training step of a recipe is recorded: from nothing, and again."""
    with tempfile.TemporaryDirectory() as where:
        what = f"base={asked}"
        if asked == "smollm2":
            what = "model=smollm2"
            model = Path(model_directory(asked)).resolve()
            shutil.copytree(model, Path(where) / "cache" / model.name)
        return [_first_step(what, threads, Path(where)) for _ in range(2)]


def _first_step(what: str, threads: int, where: Path) -> dict[str, float]:
    command = [*COMMAND, "run", "instructgpt", what, "--workspace", str(where)]
    log = where / "log"
    started = time.perf_counter()
    with log.open("w") as sink:
        run = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=sink,
            stderr=sink,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
    try:
        while not _recorded(where / "products"):
            if run.poll() is not None or time.perf_counter() - started > PATIENCE:
                raise SystemExit(f"no training step was made; the run said:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        times = {"wall": time.perf_counter() - started, "processor": _of(run.pid)}
    finally:
        run.send_signal(signal.SIGINT)
        run.wait()
    for unfinished in (where / "products").glob(".making-*"):
        shutil.rmtree(unfinished)
    return times


def _recorded(products: Path) -> bool:
    """Whether a stage, made or in the making, has told a step; ``glob`` fails where one is renamed."""
    try:
        return any(path.stat().st_size for path in products.glob("*/metrics.jsonl"))
    except FileNotFoundError:
        return False


def _of(process: int) -> float:
    """Processor seconds of a running process, with its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--threads", type=int, default=2)
    ask = parser.parse_args()
    model = model_directory(ask.model)
    first, again = first_steps(ask.model, ask.threads)
    results = {"help": helped(), "first_step": first, "again": again, "threads": ask.threads}
    for name, value in results.items():
        keep(f"start-{Path(model).name}.json", name, value)
        if isinstance(value, dict):
            print(
                f"{name:10s} {value['wall']:6.2f} s, {value['processor']:6.2f} s of the processor", flush=True
            )


if __name__ == "__main__":
    main()
