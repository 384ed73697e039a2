"""What is made already, what is to be made and why, and what that is likely to take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from posttrain.pipeline.code import changed
from posttrain.pipeline.enough import short_of_rows
from posttrain.pipeline.expected import corrected, last_time
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.fingerprint import Fingerprints, Finished
from posttrain.pipeline.kinds import other_kinds
from posttrain.pipeline.machine import Estimate
from posttrain.pipeline.progress import described
from posttrain.pipeline.sources import finished_product
from posttrain.pipeline.stage import Inputs, Machine, Stage, addresses, base_name, nested
from posttrain.pipeline.store import Product, Workspace, content_of
from posttrain.pipeline.values import nearest

SHOWN = 5  # files of a product that are not as they were written


class Pipeline:
    """One expression with its addresses, fingerprints and the places of its products in a workspace."""

    def __init__(self, expression: Stage, workspace: Workspace, remake: Collection[str] = ()) -> None:
        self.workspace = workspace
        self.stages = addresses(expression)
        self.remake = self._asked(remake)
        self.address_of = {id(stage): address for address, stage in self.stages.items()}
        fingerprints = Fingerprints(workspace)
        self.fingerprint: dict[str, str] = {}
        for address, stage in self.stages.items():  # what a stage is made from comes before it
            try:
                self.fingerprint[address] = fingerprints.of(stage)
            except UserError as error:
                raise UserError(f"stage {address}: {error}") from None
        self.place = {
            address: workspace.place(base_name(stage), self.fingerprint[address])
            for address, stage in self.stages.items()
        }

    def inputs(self, address: str) -> list[tuple[str, str]]:
        """Field path and address of every input."""
        return [(path, self.address_of[id(child)]) for path, child in nested(self.stages[address])]

    def current(self, address: str, made: dict[str, Product]) -> tuple[Product | None, str]:
        """The finished product, or None and why it is to be made; ``made`` holds the inputs that are
        current.
        """
        stage, directory = self.stages[address], self.place[address]
        if isinstance(stage, Finished):
            return given(stage.path, self.workspace), "given"
        if not directory.is_dir():
            return None, "not made yet"
        if address in self.remake:
            return None, "as --remake asks"
        if harm := self.harm(address):
            return None, harm[0]
        product = Product.load(directory)
        contents = {one.get("field"): one.get("content") for one in product.made.get("inputs", [])}
        for path, input_address in self.inputs(address):
            if input_address not in made:
                return None, f"waits for {input_address}"
            if made[input_address].content != contents.get(path):
                return None, f"{input_address} changed"
        return product, "cached"

    def harm(self, address: str) -> list[str]:
        """The files of the product in a stage's place that changed since they were written."""
        directory = self.place[address]
        if isinstance(self.stages[address], Finished) or not directory.is_dir() or address in self.remake:
            return []
        try:
            product = Product.load(directory)
        except UserError as error:
            return [str(error)]
        if product.made.get("fingerprint") != self.fingerprint[address]:
            what = "is not that of these settings" if product.made else "is missing"
            return [f"{directory} is not as it was written: its made.json {what}"]
        return self.workspace.damage(product)

    def check_untouched(self, some: Iterable[str]) -> None:
        """Raises UserError where a product would have to be made again that somebody may have touched."""
        harmed = {address: harm for address in some if (harm := self.harm(address))}
        if not harmed:
            return
        lines = []
        for address, harm in harmed.items():
            more = [f"  ... and {len(harm) - SHOWN} more"] if len(harm) > SHOWN else []
            lines += [f"stage {address}: {harm[0]}", *(f"  {one}" for one in harm[1:SHOWN]), *more]
        wishes = " ".join(f"--remake {address}" for address in harmed)
        raise UserError(
            "\n".join(lines)
            + "\nNothing was made again and nothing deleted. Put back what changed, or run with "
            f"{wishes}: what is there is then kept in {self.workspace.aside}"
        )

    def _asked(self, remake: Collection[str]) -> set[str]:
        """The addresses, ``rl`` for every round of rl. Raises UserError for one that is not there."""
        chosen: set[str] = set()
        for name in remake:
            fitting = {a for a, stage in self.stages.items() if name in (a, base_name(stage))}
            if not fitting:
                raise UserError(f"--remake {name}: no stage is called that{nearest(name, self.stages)}")
            if given := [a for a in fitting if isinstance(self.stages[a], Finished)]:
                raise UserError(f"--remake {name}: {given[0]} is a finished product here; it is not made")
            chosen |= fitting
        return chosen


def given(path: str, workspace: Workspace) -> Product:
    """A user's finished directory, with a content hash also where posttrain did not write it."""
    product = finished_product(path, workspace)
    return (
        product
        if product.content
        else Product(product.path, {"content": content_of(workspace.files(product.path))})
    )


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One row of a dry run."""

    address: str
    kind: str
    state: str  # cached, given, or why it is to be made
    product: Product | None
    estimate: Estimate  # of what is made already too, where its inputs are made
    measured: bool  # the estimate is corrected by what such a stage took last time in this workspace


def plan(
    expression: Stage,
    workspace: Workspace,
    machine: Machine,
    speed: Callable[[], float] = lambda: 0.0,
    remake: Collection[str] = (),
) -> list[Planned]:
    """Looks, makes nothing. Raises UserError where an input from outside is missing or damaged, or a user's
    rows cannot be used.

    ``speed`` measures what this machine does in a second, floating-point operations; it is asked once, and
    only where no earlier product tells.
    """
    pipeline = Pipeline(expression, workspace, remake)
    check_ahead(pipeline, machine)
    made: dict[str, Product] = {}
    hoped: dict[str, Product] = {}
    rows = []
    speed = cache(speed)
    for address, stage in pipeline.stages.items():
        product, state = pipeline.current(address, made)
        estimate, measured = Estimate(), False
        if product is None:
            uncorrected = estimated(pipeline, address, {**hoped, **made}, machine) or Estimate()
            if uncorrected.expects:
                expected = {"metrics": dict(uncorrected.expects)}
                hoped[address] = Product(pipeline.place[address], {"report": expected})
            estimate, measured = corrected(uncorrected, last_time(stage, workspace), speed)
        else:
            made[address] = product
            if nested(stage):  # what came from outside was read when it was made
                estimate = estimated(pipeline, address, made, machine) or Estimate()
            if state == "cached" and changed(product.made, stage):
                state = "cached, by earlier code"
        rows.append(
            Planned(
                address=address,
                kind=type(stage).__name__,
                state=state,
                product=product,
                estimate=estimate,
                measured=measured,
            )
        )
    return rows


def check_ahead(pipeline: Pipeline, machine: Machine, rehearsed: bool = False) -> None:
    """Preflight of every stage that needs no other and is not made, before anything is made; and whether
    there are rows enough, but where the stages are ``rehearsed`` on a few.

    A user's files are read here, so a bad row is told before a model is fetched, and all files together.
    Raises UserError.
    """
    wrong = []
    for address, stage in pipeline.stages.items():
        if nested(stage) or pipeline.current(address, {})[0] is not None:
            continue
        try:
            preflight(stage, Inputs({}), machine)
        except UserError as error:
            wrong.append(f"stage {address}: {error}")
    wrong += _given(pipeline)
    if wrong:
        raise UserError("\n".join(wrong))
    made = [
        name
        for name, directory in pipeline.place.items()
        if directory.is_dir() and name not in pipeline.remake
    ]
    if not rehearsed and (short := short_of_rows(pipeline.stages, made, machine)):
        raise UserError("\n".join(short))
    for address, stage in pipeline.stages.items():
        path = stage.model()
        if path is not None:
            check_fits(pipeline, address, path)


def _given(pipeline: Pipeline) -> list[str]:
    """What is wrong with the finished products that a user put in stages' places, each told once."""
    wrong: dict[str, str] = {}
    for address, stage in pipeline.stages.items():
        inputs = [(field, other, pipeline.stages[other]) for field, other in pipeline.inputs(address)]
        for message in other_kinds(address, stage, inputs):
            wrong.setdefault(message, f"stage {address}: {message}")
        for _, other, child in inputs:
            if isinstance(child, Finished) and (child.directory / "config.json").is_file():
                try:
                    stage.usable(child.directory)
                except UserError as error:
                    wrong.setdefault(str(error), f"stage {other}: {error}")
    return list(wrong.values())


def check_fits(pipeline: Pipeline, address: str, path: Path) -> None:
    """Whether the settings of all that grows from the model of ``address`` suit it, before any of it is made.
    Raises UserError.
    """
    if not (path / "config.json").is_file():
        return  # rows, and no model
    grown: set[str] = {address}
    wrong: dict[str, list[str]] = {}  # what is said, and of which stages
    for other, stage in pipeline.stages.items():  # inputs come before what is made of them
        if grown.isdisjoint(parent for _, parent in pipeline.inputs(other)):
            continue
        grown.add(other)
        try:
            message = _failed(stage.fits(path))
        except UserError as error:
            message = str(error)
        if message:
            wrong.setdefault(message, []).append(other)
    if wrong:
        raise UserError("\n".join(f"stage {', '.join(names)}: {message}" for message, names in wrong.items()))


def preflight(stage: Stage, inputs: Inputs, machine: Machine) -> None:
    """Raises UserError with every finding that did not pass."""
    if message := _failed(stage.preflight(inputs, machine)):
        raise UserError(message)


def _failed(findings: Sequence[Finding]) -> str:
    """What is said of those that did not pass; empty where all did."""
    failed = [one for one in findings if not one.passed]
    return "\n".join(["preflight stopped it:", *map(described, failed)]) if failed else ""


def estimated(
    pipeline: Pipeline, address: str, products: Mapping[str, Product], machine: Machine
) -> Estimate | None:
    """What a stage says it will take, of inputs that are made or as they are expected to be."""
    lookup = {id(pipeline.stages[name]): product for name, product in products.items()}
    stage = pipeline.stages[address]
    work = stage.work(Inputs.gather(stage, lambda child: lookup.get(id(child))))
    return None if work is None else work.estimate(machine)
