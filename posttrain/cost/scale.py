"""How much of what each stage takes, next to what the paper of the recipe took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posttrain.pipeline.plan import Planned
from posttrain.pipeline.progress import table


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What the paper of a recipe says of its own scale: (what, how much), in the order of its stages."""

    title: str
    scale: tuple[tuple[str, str], ...]


def scale_table(planned: Sequence[Planned], paper: Paper | None) -> str:
    """Examples, tokens and operations of each stage that reads or writes tokens, the share that reinforcement
    has in them, and the paper's own scale; empty where no stage says what it takes.
    """
    rows = [row for row in planned if row.estimate.tokens]
    if not rows:
        return ""
    total = sum(row.estimate.operations for row in rows)
    lines: list[tuple[str, ...]] = [("SCALE", "EXAMPLES", "TOKENS", "FLOPS", "SHARE")]
    for row in rows:
        work = row.estimate
        share = f"{work.operations / total:.0%}" if total else ""
        lines.append((row.address, f"{work.examples:,}", f"{work.tokens:,}", f"{work.operations:.1e}", share))
    tokens = sum(row.estimate.tokens for row in rows)
    lines.append((f"{len(rows)} stages", "", f"{tokens:,}", f"{total:.1e}", "100%"))
    parts = [table(lines)]
    reinforced = [row.estimate.operations for row in rows if row.estimate.reinforces]
    if reinforced and total:
        parts.append(f"Reinforcement has {sum(reinforced) / total:.0%} of the operations.")
    if paper is not None:
        parts.append(table([("THE PAPER", paper.title), *paper.scale]))
    return "\n\n".join(parts)
