"""What is made already, what is to be made and why, and what that is likely to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Fingerprints, Finished
from posttrain.pipeline.progress import duration, size, table
from posttrain.pipeline.sources import finished_product
from posttrain.pipeline.stage import Estimate, Inputs, Machine, Stage, addresses, base_name, nested
from posttrain.pipeline.store import Product, Workspace, content_of, read_json


class Pipeline:
    """One expression with its addresses, fingerprints and the places of its products in a workspace."""

    def __init__(self, expression: Stage, workspace: Workspace) -> None:
        self.workspace = workspace
        self.stages = addresses(expression)
        self.address_of = {id(stage): address for address, stage in self.stages.items()}
        fingerprints = Fingerprints(workspace)
        self.fingerprint = {address: fingerprints.of(stage) for address, stage in self.stages.items()}
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
        stage, place = self.stages[address], self.place[address]
        if isinstance(stage, Finished):
            return given(stage.path, self.workspace), "given"
        if not place.is_dir():
            return None, "not made yet"
        try:
            product = Product.load(place)
        except UserError as error:
            return None, str(error)
        if product.made.get("fingerprint") != self.fingerprint[address]:
            return None, f"{place} is damaged: its made.json is not that of these settings"
        if harm := self.workspace.damage(product):
            return None, harm
        known = {record["field"]: record["content"] for record in product.made["inputs"]}
        for path, input_address in self.inputs(address):
            if input_address not in made:
                return None, f"waits for {input_address}"
            if made[input_address].content != known.get(path):
                return None, f"{input_address} changed"
        return product, "cached"


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
    estimate: Estimate
    measured: bool  # the estimate is what such a stage took last time in this workspace


def plan(expression: Stage, workspace: Workspace, machine: Machine) -> list[Planned]:
    """Looks, makes nothing. Raises UserError where an input from outside is missing or damaged."""
    pipeline = Pipeline(expression, workspace)
    made: dict[str, Product] = {}
    rows = []
    for address, stage in pipeline.stages.items():
        product, state = pipeline.current(address, made)
        estimate, measured = Estimate(), False
        if product is None:
            lookup = {id(pipeline.stages[known]): found for known, found in made.items()}
            said = stage.estimate(Inputs.gather(stage, lambda child: lookup.get(id(child))), machine)  # noqa: B023
            measured = said is None or not said.seconds
            estimate = _completed(said or Estimate(), _last_time(stage, workspace))
        else:
            made[address] = product
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


def _completed(said: Estimate, last: Estimate) -> Estimate:
    """What the stage says of itself, and what it took last time where it says nothing."""
    seconds, memory = said.seconds or last.seconds, said.bytes or last.bytes
    return Estimate(tokens=said.tokens, seconds=seconds, bytes=memory)


def drawn(expression: Stage) -> str:
    """Which stage feeds which, as an indented tree; what was drawn above is named only."""
    named = {id(stage): address for address, stage in addresses(expression).items()}
    lines: list[str] = []
    told: set[int] = set()

    def draw(stage: Stage, depth: int, field: str) -> None:
        again = id(stage) in told and nested(stage)
        title = f"{field} <- {named[id(stage)]}" if field else named[id(stage)]
        lines.append(f"{'  ' * depth}{title} ({type(stage).__name__}){'  as above' if again else ''}")
        if not again:
            told.add(id(stage))
            for path, child in nested(stage):
                draw(child, depth + 1, path)

    draw(expression, 0, "")
    return "\n".join(lines)


def _last_time(stage: Stage, workspace: Workspace) -> Estimate:
    """What the newest product of the same class took; nothing where there is none."""
    kind = f"{type(stage).__module__}.{type(stage).__qualname__}"
    records = [read_json(path, {}) for path in workspace.products.glob("*/made.json")]
    alike: list[dict[str, Any]] = [record for record in records if record.get("stage") == kind]
    if not alike:
        return Estimate()
    newest = max(alike, key=lambda record: str(record.get("finished", "")))
    return Estimate(seconds=float(newest.get("seconds", 0)), bytes=int(newest.get("peak_bytes", 0)))


def plan_table(rows: Sequence[Planned]) -> str:
    """The dry run as text: address, stage, state, tokens, time, memory, and the sums of what is left to
    do.
    """
    lines: list[tuple[str, ...]] = [("ADDRESS", "STAGE", "STATE", "TOKENS", "TIME", "MEMORY")]
    for row in rows:
        hoped = row.estimate
        about = "last time " if row.measured and hoped.seconds else "about "
        lines.append(
            (
                row.address,
                row.kind,
                row.state if row.product else f"to make ({row.state})",
                "-" if row.product else f"{hoped.tokens:,}" if hoped.tokens else "?",
                "-" if row.product else about + duration(hoped.seconds) if hoped.seconds else "?",
                "-" if row.product else size(hoped.bytes) if hoped.bytes else "?",
            )
        )
    waiting = [row for row in rows if row.product is None]
    if not waiting:
        return table(lines) + "\n\nNothing to do: everything is made."
    seconds, unknown = (
        sum(row.estimate.seconds for row in waiting),
        sum(not row.estimate.seconds for row in waiting),
    )
    total = f"{len(waiting)} of {len(rows)} to make" + (f", about {duration(seconds)}" if seconds else "")
    peak = max(row.estimate.bytes for row in waiting)
    return (
        table(lines)
        + f"\n\n{total}"
        + (f", {unknown} of unknown time" if unknown else "")
        + (f"; at most {size(peak)} of memory" if peak else "")
    )
