"""What can be told once models and rows are there, before the first stage trains: what the rows say of the
stages that will read them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.plan import Pipeline
from posttrain.pipeline.progress import described
from posttrain.pipeline.stage import Inputs, Machine, Product, Stage, nested


def check_rows_ahead(pipeline: Pipeline, products: Mapping[str, Product], machine: Machine) -> None:
    """``products`` are those of the stages that need no other; rows that follow from them alone, such as a
    part of somebody's rows, are written to a temporary directory to be looked at. Raises UserError with
    everything that was found, of the stages that are not made yet.
    """
    with tempfile.TemporaryDirectory(prefix="posttrain-ahead-") as scratch:
        wrong = _look(pipeline, products, machine, Path(scratch))
    if wrong:
        raise UserError("\n".join(wrong))


def _look(pipeline: Pipeline, products: Mapping[str, Product], machine: Machine, scratch: Path) -> list[str]:
    lookup = {id(pipeline.stages[address]): product for address, product in products.items()}
    wrong = []
    for address, stage in pipeline.stages.items():
        if not nested(stage):
            continue
        inputs = Inputs.gather(stage, lambda child: lookup.get(id(child)))
        made = pipeline.place[address].is_dir() and address not in pipeline.remake
        try:
            if hasattr(stage, "foreseen") and all(inputs.has(child) for _, child in nested(stage)):
                lookup[id(stage)] = _rows(stage, inputs, scratch / address, machine)
            findings = [] if made else stage.ahead(_model(pipeline, address, products), inputs, machine)
        except UserError as error:
            wrong.append(f"stage {address}: {error}")
            continue
        if failed := [one for one in findings if not one.passed]:
            message = "\n".join(["stopped before anything is trained:", *map(described, failed)])
            wrong.append(f"stage {address}: {message}")
    return wrong


def _rows(stage: Stage, inputs: Inputs, output: Path, machine: Machine) -> Product:
    """The product of a stage whose rows follow from rows that are there."""
    output.mkdir()
    stage.run(inputs, output, machine)
    return Product(output, {})


def _model(pipeline: Pipeline, address: str, products: Mapping[str, Product]) -> Path | None:
    """The model that a stage's first input grew from, of those that are there."""
    for _, other in pipeline.inputs(address):
        if other not in products:
            if (model := _model(pipeline, other, products)) is not None:
                return model
        elif (products[other].path / "config.json").is_file():
            return products[other].path
    return None
