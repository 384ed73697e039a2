"""A and B in turn in one process: who is timed by which clock, what it needs of memory, where results go."""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from isa import current_isa
from transformers import TrainerCallback

from posttrain.kernels.processor import processor_name
from posttrain.pipeline.circumstances import peak

ROOT = Path(__file__).resolve().parent.parent
BASE = ROOT / "posttrain" / "field_guide" / "base"
RESULTS = ROOT / "benchmarks" / "results"
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


class Turns(TrainerCallback):  # type: ignore[misc]
    """Times a step of a trainer of TRL, then makes and times one of ours (None: TRL's alone).

    A step begins where the trainer says so; TRL's PPO does not, so there it is what lies between two ends.
    """

    def __init__(self, mine: Iterator[Any] | None, clock: Callable[[], float]) -> None:
        self.mine, self.clock, self.started = mine, clock, 0.0
        self.seconds: dict[str, list[float]] = {"posttrain": [], "trl": []}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.started = self.clock()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.started = self.clock()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds["trl"].append(self.clock() - self.started)
        if self.mine is not None:
            started = self.clock()
            next(self.mine)
            self.seconds["posttrain"].append(self.clock() - started)
        self.started = self.clock()


def compared(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians without the first round, which warms both up, and how many times faster posttrain is."""
    rounds = {name: values[1:] for name, values in seconds.items()}
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    return {"seconds": rounds, "medians": medians, "ratio": medians["trl"] / medians["posttrain"]}


def keep(file: str, key: str, result: Any) -> None:
    """Writes ``result`` under ``key`` into a file of the results, beside what is there, with the processor
    that it was measured on, limited or not.
    """
    if isinstance(result, dict):
        result = {"processor": processor_name(), **result}
        result |= {"isa": isa} if (isa := current_isa()) else {}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / file
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | {key: result}, indent=1) + "\n")


def peak_bytes() -> int:
    """The most memory that this process ever had resident."""
    return peak()


def resident_bytes() -> int:
    """What this process has resident now; where the system does not tell, the most until now."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.is_file() else peak()


def model_directory(asked: str) -> str:
    """A directory as it stands; ``smollm2`` is fetched once, below the user's cache."""
    if asked != "smollm2":
        return asked
    from posttrain.models.smollm2 import fetch_smollm2

    return str(fetch_smollm2(Path("~/.cache/posttrain")))
