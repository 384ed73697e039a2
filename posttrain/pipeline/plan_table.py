"""The dry run as text."""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.pipeline.plan import Planned
from posttrain.pipeline.progress import at_speed, duration, size, table


def plan_table(rows: Sequence[Planned], speed: float = 0.0) -> str:
    """The dry run as text: address, stage, state, tokens, time, memory, and the sums of what is left to
    do. ``speed``: of float32 matrix products, operations a second; 0 is not known.
    """
    lines: list[tuple[str, ...]] = [("ADDRESS", "STAGE", "STATE", "TOKENS", "TIME", "MEMORY")]
    for row in rows:
        hoped = row.estimate
        mark = " *" if row.measured and hoped.seconds else ""
        lines.append(
            (
                row.address,
                row.kind,
                row.state if row.product else f"to make ({row.state})",
                "-" if row.product else f"about {hoped.tokens:,}" if hoped.tokens else "",
                "-" if row.product else f"about {_rounded(hoped.seconds)}{mark}" if hoped.seconds else "?",
                "-" if row.product else f"about {size(hoped.bytes)}" if hoped.bytes else "?",
            )
        )
    waiting = [row for row in rows if row.product is None]
    if not waiting:
        return table(lines) + "\n\nNothing to do: everything is made."
    seconds = sum(row.estimate.seconds for row in waiting)
    unknown = sum(not row.estimate.seconds for row in waiting)
    peak = max(row.estimate.bytes for row in waiting)
    total = f"{len(waiting)} of {len(rows)} to make" + (f", about {_rounded(seconds)}" if seconds else "")
    total += f", {unknown} of unknown time" if unknown else ""
    total += f"; about {size(peak)} of memory at most" if peak else ""
    at = f"{at_speed(speed / 1e9)} of matrix products, measured now" if speed else "a speed measured now"
    basis = f"Estimates from the sizes of models and rows and {at}; a factor of two is common."
    if any(row.measured for row in waiting):
        basis += "\n* in proportion to what such a stage took in this workspace"
    return "\n\n".join([table(lines), total, basis])


def _rounded(seconds: float) -> str:
    """An estimate has no tenths of seconds to tell above ten."""
    return duration(seconds if seconds < 10 else round(seconds)).replace(".0 s", " s")
