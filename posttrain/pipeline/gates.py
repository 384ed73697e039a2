"""Gates: a stage that did not do its work stops the recipe, unless that was accepted by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from posttrain.metrics import Metric
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.progress import described
from posttrain.pipeline.stage import Stage
from posttrain.pipeline.stage_report import Report
from posttrain.pipeline.values import nearest


class _Zeros(dict[str, Metric]):
    """Metrics of a stage that has not run: every one is there, and 0."""

    def __missing__(self, name: str) -> Metric:
        return Metric(0.0, 0.0, 0.0, 0)


def names(stage: Stage) -> list[str] | None:
    """What a stage's gates are called, asked with metrics of 0; None where it cannot say before."""
    try:
        return [finding.name for finding in stage.gates(Report(metrics=_Zeros()))]
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return None  # a stage from outside, whose metrics are no numbers


def check_accepted(accept: Collection[str] | None, stages: Mapping[str, Stage]) -> None:
    """Raises UserError for a name that no gate of these stages has: a misspelt one would be found out after
    the work.
    """
    if not accept:
        return
    asked = {address: names(stage) for address, stage in stages.items()}
    names_of = {address: gate_names for address, gate_names in asked.items() if gate_names is not None}
    if len(names_of) < len(asked):
        return  # what never failed is said at the end
    bare = {name for gate_names in names_of.values() for name in gate_names}
    whole = {f"{address}.{name}" for address, gate_names in names_of.items() for name in gate_names}
    for wish in accept:
        if wish not in bare | whole:
            hint = nearest(wish, whole if "." in wish else bare)
            raise UserError(f"--accept-gate {wish}: no gate of this recipe is called that{hint}")


def accepted(address: str, failed: Collection[Finding], accept: Collection[str] | None) -> list[Finding]:
    """Those that may fail; all of them where ``accept`` is None."""
    if accept is None:
        return list(failed)
    return [finding for finding in failed if finding.name in accept or f"{address}.{finding.name}" in accept]


def stop(address: str, failed: Collection[Finding]) -> None:
    """Raises UserError with what failed and how to go on, where anything did."""
    if failed:
        wishes = " ".join(f"--accept-gate {finding.name}" for finding in failed)
        lines = [f"stage {address} is made, but did not do its work:", *map(described, failed)]
        raise UserError("\n".join([*lines, f"To go on all the same, and have that recorded: {wishes}"]))
