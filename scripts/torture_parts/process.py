"""One start of a run, in a process forked from this one, which has the heavy imports already."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from torture_parts.counters import Counters, count_work
from torture_parts.instants import Instant, Operations, kill_after
from torture_parts.kinds import Kind

LIMIT = 300.0  # seconds of a start, many times what one takes
MOST_OUTPUT = 1 << 20  # bytes, the last ones


@dataclass(frozen=True)
class Options:
    """How a start goes: which checkpoints it writes, when it is killed, how large a file may be."""

    save_steps: int = 1
    save_seconds: float = 300.0
    saving_share: float = 20.0
    instant: Instant | None = None
    file_size: int = 0  # bytes; 0 is no limit
    traced: bool = False  # operations are counted
    only_reads: Path | None = None  # what the stage reads is made, and named in this file


@dataclass(frozen=True)
class Ended:
    """How a start ended: ``code`` as ``os.waitstatus_to_exitcode`` gives it; where it was killed."""

    code: int
    seconds: float
    phase: str = ""
    where: str = ""
    output: str = ""
    work: dict[str, int] = field(default_factory=dict)

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@dataclass(frozen=True)
class Place:
    """The directory of a kind: its ``workspace``, and what starts write beside it."""

    root: Path
    counters: Counters

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def trace(self) -> dict[str, int]:
        """How often the last traced start did each operation."""
        counts: dict[str, int] = json.loads((self.root / "trace.json").read_text())
        return counts


def start(kind: Kind, bench: Place, options: Options = Options()) -> Ended:
    """Makes what is not made of the kind; returns when the process has ended, however it ended."""
    note = bench.root / "killed.txt"
    note.unlink(missing_ok=True)
    bench.counters.clear()
    began, (reads, writes) = time.monotonic(), os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            for stream in (1, 2):
                os.dup2(writes, stream)
            code = _run(kind, bench, options, note)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writes)
    output = _read(reads, child, began)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds = time.monotonic() - began
    phase, _, where = note.read_text().partition("\n") if note.exists() else ("", "", "")
    return Ended(code, seconds, phase, where, output, bench.counters.all())


def _read(reads: int, child: int, began: float) -> str:
    """What a process writes, to its end; one that hangs is ended."""
    text = b""
    while time.monotonic() - began < LIMIT:
        if select.select([reads], [], [], 1.0)[0]:
            if not (some := os.read(reads, 1 << 16)):
                break
            text = (text + some)[-MOST_OUTPUT:]
    else:
        os.killpg(child, signal.SIGKILL)
        text += b"\nit did not end"
    os.close(reads)
    return text.decode(errors="replace")


def _run(kind: Kind, bench: Place, options: Options, note: Path) -> int:
    from posttrain.training import drive

    _small_chunks(kind)
    drive.SAVING_SHARE = options.saving_share  # type: ignore[assignment]
    count_work(bench.counters)
    if options.file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_size, options.file_size))
    operations = Operations(options.instant, note, lambda: bench.counters.phase)
    if options.instant is not None and options.instant.seconds is not None:
        kill_after(options.instant.seconds, note, lambda: bench.counters.phase)
    elif options.instant is not None or options.traced:
        operations.watch()
    saves = ["--save-steps", str(options.save_steps), "--save-seconds", str(options.save_seconds)]
    words = ["run", *kind.words, "--threads", "1", "--workspace", str(bench.workspace), *saves]
    code = _stage(kind, words, options.only_reads) if kind.address else _command(words)
    if options.traced:
        (bench.root / "trace.json").write_text(json.dumps(operations.counts))
    return code


def _command(words: list[str]) -> int:
    from posttrain.cli import main

    return main(words)


def _stage(kind: Kind, words: list[str], only_reads: Path | None = None) -> int:
    """The stage alone, with what it reads; its gates may fail. With ``only_reads`` what it reads is made and
    not the stage, and the names of the products are written to that file.
    """
    from posttrain.cli.parser import build_parser
    from posttrain.cli.recipe_options import machine_of, read_recipe
    from posttrain.pipeline.finding import UserError
    from posttrain.pipeline.plan import Pipeline
    from posttrain.pipeline.runner import StageFailed, run
    from posttrain.pipeline.stage import addresses, nested
    from posttrain.pipeline.store import Workspace
    from posttrain.pipeline.trouble import trouble

    options, rest = build_parser().parse_known_args(words)
    options.overrides = [*options.overrides, *rest]
    _, _, expression = read_recipe(options)
    workspace = Workspace(options.workspace)
    machine = machine_of(options, workspace, quiet=True)
    stage = addresses(expression)[kind.address]
    wanted = [stage] if only_reads is None else [child for _, child in nested(stage)]
    try:
        for one in wanted:
            run(one, workspace, machine, recipe=kind.name, accept=None)
    except UserError as error:
        print(error)
        return 2
    except StageFailed as error:
        traceback.print_exception(error.__cause__)
        return 2 if error.__cause__ is not None and trouble(error.__cause__) else 1
    if only_reads is not None:
        places = [path.name for one in wanted for path in Pipeline(one, workspace).place.values()]
        only_reads.write_text(json.dumps(sorted(set(places))))
    return 0


def _small_chunks(kind: Kind) -> None:
    """So small that even these runs have several."""
    from posttrain.rollouts import batched_eval, sample
    from posttrain.storage import chunks

    chunks.ROWS = batched_eval.ROWS = sample.ANSWERS = kind.chunk


def warm() -> None:
    """What a start would import and look up, once for all of them."""
    import importlib
    import pkgutil

    import torch
    from transformers import AutoModelForCausalLM

    import posttrain
    from posttrain.pipeline import code
    from posttrain.stages.base import EMBEDDED

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(posttrain.__path__, "posttrain."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            importlib.import_module(module.name)
            code._imports(module.name)
            code._hashes(module.name)
    AutoModelForCausalLM.from_pretrained(EMBEDDED)
