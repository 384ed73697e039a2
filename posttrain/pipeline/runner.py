"""Makes what is not made yet, in order; stops where a gate says that a stage did not do its work."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from posttrain import __version__
from posttrain.pipeline import gates
from posttrain.pipeline.ahead import check_rows_ahead
from posttrain.pipeline.attempts import Attempts, remove_scratch
from posttrain.pipeline.circumstances import computing, now, peak, process, reset_peak
from posttrain.pipeline.code import changed
from posttrain.pipeline.expected import memory
from posttrain.pipeline.files import load_json, make_directory, read_json, write_json
from posttrain.pipeline.finding import UserError, Waiting
from posttrain.pipeline.heartbeat import heartbeat
from posttrain.pipeline.made import estimate_of, made_of, settings_of, step_facts
from posttrain.pipeline.plan import Pipeline, check_ahead, check_fits, estimated, preflight
from posttrain.pipeline.progress import described as described_finding
from posttrain.pipeline.progress import duration, first_names, headline
from posttrain.pipeline.secrets import Redaction
from posttrain.pipeline.shape import RUN, misshapen
from posttrain.pipeline.stage import Inputs, Machine, Stage, nested
from posttrain.pipeline.store import Product, Workspace

RECORD = "run.json"
LARGE = 64 << 20  # bytes taken by a stage, above which a pass over every object is worth its time


class StageFailed(Exception):
    """A stage raised something that is not the user's to mend; the cause is chained."""

    def __init__(self, address: str, run: Run) -> None:
        super().__init__(address)
        self.address = address
        self.run = run


class Run:
    """One pass over a recipe: its record under ``runs/`` and the products by address."""

    def __init__(self, workspace: Workspace, recipe: str, overrides: Sequence[str]) -> None:
        self.workspace = workspace
        self.products: dict[str, Product] = {}
        self.waiting: dict[str, str] = {}  # address to what is waited for
        self.made: list[str] = []
        self.redaction = Redaction(list(overrides))
        self._directory: Path | None = None
        self._began = time.monotonic()
        self.record: dict[str, Any] = {
            "recipe": recipe,
            "overrides": self.redaction.value(list(overrides)),
            "status": "running",
            "posttrain": __version__,
            "started": now(),
            "process": process(),
            "accepted_gates": [],
            "stages": [],
            "products": {},
        }

    @property
    def directory(self) -> Path:
        """Made on first use, so that a run that never got anywhere leaves nothing behind."""
        if self._directory is None:
            make_directory(self.workspace.runs)
            name = re.sub(r"[^\w-]", "_", str(self.record["recipe"]))
            number = max((run_number(path) for path in self.workspace.runs.iterdir()), default=0) + 1
            while True:
                candidate = self.workspace.runs / f"{number}-{name}"
                with suppress(FileExistsError):
                    candidate.mkdir()
                    break
                number += 1
            self._directory = candidate
        return self._directory

    def note(self, address: str, **facts: Any) -> None:
        self.record["stages"].append({"address": address, **facts})
        if address in self.products:
            path = self.products[address].path
            inside = path.is_relative_to(self.workspace.root)
            self.record["products"][address] = str(path.relative_to(self.workspace.root) if inside else path)

    def save(self, status: str) -> None:
        self.record["status"] = status
        if status != "running":
            self.record["finished"] = now()
            self.record["seconds"] = round(time.monotonic() - self._began, 3)  # the clock may have been set
        # places of products are made of names that are no secrets, and are read again
        products = {"products": self.record["products"]}
        write_json(self.directory / RECORD, self.redaction.value(self.record) | products)

    def same_as(self, earlier: Path) -> bool:
        """Whether an earlier run ended with these very products, so that it stands for this one."""
        other = read_json(earlier / RECORD, {})
        keys = ("recipe", "overrides", "products", "accepted_gates", "posttrain")
        return other.get("status") == "finished" and all(other.get(key) == self.record[key] for key in keys)

    def stand_for(self, earlier: Path) -> None:
        self._directory = earlier


def run_number(directory: Path) -> int:
    number = directory.name.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def read_record(directory: Path) -> dict[str, Any]:
    """What a run said of itself. Raises UserError where that is absent, damaged or not of its form."""
    file = directory / RECORD
    try:
        record = load_json(file)
        problem = misshapen(record, RUN) or ("" if "products" in record else "products is missing")
    except (OSError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise UserError(
            f"{file}: not the record of a run ({problem}); `posttrain list` shows the runs of this workspace"
        )
    return dict(record)


def latest_run(workspace: Workspace) -> Path | None:
    runs = [path for path in workspace.runs.glob("*-*") if (path / RECORD).is_file()]
    return max(runs, key=run_number, default=None)


def run(
    expression: Stage,
    workspace: Workspace,
    machine: Machine,
    *,
    recipe: str = "recipe",
    overrides: Sequence[str] = (),
    accept: Collection[str] | None = (),
    remake: Collection[str] = (),
    say: Callable[[str], None] = print,
) -> Run:
    """Makes every product that is missing or stale; ``run.products`` holds them all by address. One that is
    not as it was written is made again only where ``remake`` names its address, and the old one kept aside.

    ``accept`` names gates (``name`` or ``address.name``) that may fail; with None all may, as in a rehearsal,
    and those about learning are not told.
    Raises UserError for what the user can mend, StageFailed for anything else; what was made before stays
    made.
    """
    record = Run(workspace, recipe, overrides)
    pipeline = Pipeline(expression, workspace, remake)
    settings = [settings_of(pipeline, stage) for stage in pipeline.stages.values()]
    record.redaction = Redaction(list(overrides), settings)
    machine = replace(machine, workspace=workspace.root)
    gates.check_accepted(accept, pipeline.stages)
    pipeline.check_untouched(pipeline.stages)
    check_ahead(pipeline, machine, rehearsed=accept is None)
    workspace.sweep()
    try:
        for number, (address, stage) in enumerate(pipeline.stages.items(), start=1):
            if number == 1 + sum(not nested(one) for one in pipeline.stages.values()):
                check_rows_ahead(pipeline, record.products, machine)
            mark = f"[{number}/{len(pipeline.stages)}] {address.ljust(max(map(len, pipeline.stages)))}"
            _step(pipeline, record, machine, address, lambda text, mark=mark: say(f"{mark}  {text}"))  # type: ignore[misc]
            if address in record.products and not nested(stage):  # a model that had to be fetched first
                check_fits(pipeline, address, record.products[address].path)
            if address in record.products:
                _gates(stage, address, record, accept, say)
    except BaseException as error:
        if record.made or record.record["stages"]:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            with suppress(OSError):  # a full disk: what filled it is told
                record.save("stopped" if stopped else "failed")
        raise
    finally:
        with suppress(OSError):
            workspace.remember()
    for name in _unused(accept, record.record["accepted_gates"]):
        say(f"--accept-gate {name} was not needed: that gate did not fail")
    earlier = latest_run(workspace)
    if not record.made and not record.waiting and earlier and record.same_as(earlier):
        record.stand_for(earlier)
    else:
        record.save("waiting" if record.waiting else "finished")
    return record


def _step(
    pipeline: Pipeline, record: Run, machine: Machine, address: str, say: Callable[[str], None]
) -> None:
    """One stage: cached, given, made, or waiting."""
    stage, inputs = pipeline.stages[address], pipeline.inputs(address)
    blocked = [other for _, other in inputs if other not in record.products]
    facts = step_facts(stage, dict(inputs))
    if blocked:
        record.waiting[address] = f"needs {', '.join(blocked)}"
        record.note(address, **facts, state="waiting")
        return say(record.waiting[address])
    product, state = pipeline.current(address, record.products)
    if product is not None:  # killed between the two
        remove_scratch(pipeline.workspace.scratch / pipeline.place[address].name)
    if product is None:
        pipeline.check_untouched([address])  # while the stages before were made
        if state not in ("not made yet",):
            say(f"to be made again: {state}")
        try:
            product = _make(pipeline, record, machine, address, say)
        except Waiting as waiting:
            record.waiting[address] = str(waiting)
            record.note(address, **facts, state="waiting")
            return say(f"waits for people: {waiting}")
        record.made.append(address)
        state = "made"
    record.products[address] = product
    seconds = float(product.made.get("seconds", 0.0))
    other = changed(product.made, stage) if state == "cached" else []
    record.note(address, **facts, state=state, seconds=seconds, **({"changed_since": other} if other else {}))
    summary = f"made in {duration(seconds)}" if state == "made" else state
    say(f"{summary.ljust(16)}  {headline(product.report)}".rstrip())
    if other:
        say(f"  by earlier code: {first_names(other)} changed since; --remake {address} makes it again")
    for note in product.report.notes if state == "made" else []:
        say(f"  note: {note}")
    if state == "made":
        record.save("running")
    return None


def _make(
    pipeline: Pipeline, record: Run, machine: Machine, address: str, say: Callable[[str], None]
) -> Product:
    stage, workspace, final = pipeline.stages[address], pipeline.workspace, pipeline.place[address]
    lookup = {id(pipeline.stages[name]): product for name, product in record.products.items()}
    inputs = Inputs.gather(stage, lambda child: lookup.get(id(child)))
    before = 0  # bytes held
    try:
        if inputs:  # the others were looked at before anything was made
            preflight(stage, inputs, machine)
        say("making ...")
        with workspace.making(final) as output:
            meanwhile, _ = pipeline.current(address, record.products)
            stood = final.exists()
            if meanwhile is not None:  # another process made it between our look and our lock
                return meanwhile
            hoped = estimated(pipeline, address, record.products, machine)
            for finding in memory(stage, hoped, workspace, machine) if hoped else ():
                if not finding.passed:
                    say(described_finding(finding).strip())
            before = reset_peak()
            made = made_of(pipeline, record.products, address)
            replaced = final if address in pipeline.remake else None
            attempts = Attempts(workspace.scratch / final.name, made, machine, say, replaced)
            about = hoped.seconds if hoped else 0.0
            with attempts, heartbeat(say, machine.quiet, about) as note:
                report = stage.run(inputs, output, replace(machine, note=note, scratch=attempts.scratch))
            made |= {**attempts.spent(), "estimate": estimate_of(hoped), "report": report.to_json()}
            made["machine"] = computing(machine.speed)
            record.record |= {"machine": made["machine"]} if made["machine"] else {}
            product = workspace.finish(output, final, made)
            attempts.remove()
            if stood:
                say(f"what was there before is kept in {workspace.aside}")
            return product
    except UserError as error:
        raise UserError(f"stage {address}: {error}") from error
    except Waiting:
        raise
    except Exception as error:
        raise StageFailed(address, record) from error
    finally:
        if peak() - before > LARGE:
            gc.collect()


def _gates(
    stage: Stage, address: str, record: Run, accept: Collection[str] | None, say: Callable[[str], None]
) -> None:
    looked_at = stage.gates(record.products[address].report)
    record.record["stages"][-1]["findings"] = [asdict(finding) for finding in looked_at]
    for finding in looked_at:
        if not finding.passed and not finding.stops and not (accept is None and finding.learning):
            say(described_finding(finding))
    failed = [finding for finding in looked_at if not finding.passed and finding.stops]
    for finding in (excused := gates.accepted(address, failed, accept)):
        record.record["accepted_gates"].append(f"{address}.{finding.name}")
        if accept is not None:
            say(f"accepted as asked, though it failed:\n{described_finding(finding)}")
    gates.stop(address, [finding for finding in failed if finding not in excused])


def _unused(accept: Collection[str] | None, used: Collection[str]) -> list[str]:
    """Accepted names of which no gate failed."""
    return [name for name in accept or () if name not in {*used, *(one.partition(".")[2] for one in used)}]
