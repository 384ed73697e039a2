"""What a product says without declaring it: for tests that have a run at hand."""

from __future__ import annotations

import json
from pathlib import Path

from posttrain.metrics import COUNT, HIGH, LOW
from posttrain.pipeline.store import Product
from posttrain.report.catalogue import declared

CURVES = ("metrics.jsonl", "gold.jsonl")


def undeclared(product: Path) -> list[str]:
    """Every metric of made.json that nobody declares, or whose unit is another, and every one of the logs."""
    wrong = []
    for name, metric in Product.load(product).metrics.items():
        one = declared(name, "report", metric)
        if one is None or one.unit != metric.unit or not metric.unit:
            wrong.append(f"{product.name}: {name} in {metric.unit or 'no unit'}")
    return wrong + [f"{product.name}: {name} in a log" for name in sorted(logged(product)) if not _logs(name)]


def logged(product: Path) -> set[str]:
    files = [product / name for name in CURVES if (product / name).is_file()]
    return {
        name for file in files for line in file.read_text("utf-8").splitlines() for name in json.loads(line)
    }


def _logs(name: str) -> bool:
    """Whether a column of a log is declared, or an end of the interval of one that is."""
    ends = [name.removesuffix(end) for end in (LOW, HIGH, COUNT) if name.endswith(end)]
    kinds = [one.kind for one in (declared(stem, "log") for stem in (name, *ends)) if one is not None]
    return any(kind.where != "report" for kind in kinds)
