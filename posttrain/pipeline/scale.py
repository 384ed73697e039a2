"""How much of what each stage takes, beside what the paper of the recipe took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.pipeline.plan import Planned
from posttrain.pipeline.progress import table
from posttrain.pipeline.stage import Stage, addresses, nested
from posttrain.pipeline.store import Product

# Fields that say how large a stage is, and how they are said.
COUNTED = (
    ("count", "{} rounds"),
    ("rows", "{} rows"),
    ("answers", "{} answers each"),
    ("keep", "{} kept"),
    ("per_pair", "{} annotators each"),
    ("epochs", "{} epochs"),
    ("steps", "{} steps"),
    ("prompts_per_step", "{} prompts a step"),
    ("starts", "{} starts a step"),
    ("group_size", "{} answers each"),
    ("best_of", "best of {}"),
    ("often", "pass@{}"),
)
ONCE = 1  # once over the rows, one answer each: not worth a word


@dataclass(frozen=True, kw_only=True)
class Paper:
    """What the paper of a recipe says of its own scale: (what, how much), in the order of its stages."""

    title: str
    scale: tuple[tuple[str, str], ...]


def size_of(stage: Stage) -> str:
    """A stage's size in words, from its own settings: ``6,000 rows``, ``45 steps, 192 prompts a step``."""
    prompts, size = getattr(stage, "drawn", (None, None))  # as it comes out, not as it was asked for
    own = {"prompts_per_step": prompts, "group_size": size} if prompts else {}
    said = []
    for name, words in COUNTED:
        value = own.get(name, getattr(stage, name, None))
        if isinstance(value, int) and not isinstance(value, bool) and value > (name != "rows") * ONCE:
            said.append(words.format(f"{value:,}"))
    weights = [f"{one.weight:g} {one.name}" for one in getattr(stage, "sources", ())]
    return ", ".join(said + ([" : ".join(weights)] if weights else []))


def drawn(expression: Stage) -> str:
    """Which stage feeds which, the last first, each with its size; what was drawn above is named only."""
    named = {id(stage): address for address, stage in addresses(expression).items()}
    lines: list[str] = []
    told: set[int] = set()

    def draw(stage: Stage, field: str, before: str, branch: str, below: str) -> None:
        again = id(stage) in told and bool(nested(stage))
        size = size_of(stage)
        title = f"{field} <- {named[id(stage)]}" if field else named[id(stage)]
        told_of = "as above" if again else f"{type(stage).__name__}{f': {size}' if size else ''}"
        lines.append(f"{before}{branch}{title} ({told_of})")
        told.add(id(stage))
        inside = [] if again else nested(stage)
        for place, (path, child) in enumerate(inside):
            last = place + 1 == len(inside)
            draw(child, path, before + below, "└─ " if last else "├─ ", "   " if last else "│  ")

    draw(expression, "", "", "", "")
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a stage learns from, reads and computes; 0 where that is not known."""

    address: str
    examples: int
    tokens: int
    operations: float
    reinforces: bool


def shares(expression: Stage, planned: Sequence[Planned]) -> list[Share]:
    """Every stage that reads or writes tokens, in the order of making."""
    stages, found = addresses(expression), []
    by_address = {row.address: row for row in planned}
    address_of = {id(stage): address for address, stage in stages.items()}
    for address, stage in stages.items():
        row = by_address[address]
        tokens, operations = _work(row)
        if tokens:
            rows = [_rows(by_address[address_of[id(child)]]) for _, child in nested(stage)]
            steps = getattr(stage, "steps", 0) if hasattr(stage, "drawn") else 0
            prompts, size = getattr(stage, "drawn", (0, 0))
            epochs = getattr(stage, "epochs", 1)
            own = _rows(row) or max((count for count in rows), default=0) * epochs
            examples = steps * prompts * size or own
            found.append(
                Share(
                    address=address,
                    examples=examples,
                    tokens=tokens,
                    operations=operations,
                    reinforces=bool(steps),
                )
            )
    return found


def scale_table(expression: Stage, planned: Sequence[Planned], paper: Paper | None) -> str:
    """Examples, tokens and operations of each stage, the share that reinforcement has in them, and the
    paper's own scale; empty where no stage says what it takes.
    """
    found = shares(expression, planned)
    if not found:
        return ""
    whole = sum(one.operations for one in found)
    lines: list[tuple[str, ...]] = [("SCALE", "EXAMPLES", "TOKENS", "FLOPS", "SHARE")]
    for one in found:
        share = f"{one.operations / whole:.0%}" if whole else ""
        lines.append((one.address, f"{one.examples:,}", f"{one.tokens:,}", f"{one.operations:.1e}", share))
    tokens, learned = sum(one.tokens for one in found), [one for one in found if one.reinforces]
    lines.append((f"{len(found)} stages", "", f"{tokens:,}", f"{whole:.1e}", "100%"))
    said = [table(lines)]
    if learned and whole:
        part = sum(one.operations for one in learned) / whole
        said.append(f"Reinforcement has {part:.0%} of the operations.")
    if paper is not None:
        own = [("THE PAPER", paper.title), *paper.scale]
        said.append(table([(what, amount) for what, amount in own]))
    return "\n\n".join(said)


def _work(row: Planned) -> tuple[int, float]:
    """Tokens and operations, as estimated now or when the product was made."""
    if row.product is None:
        return row.estimate.tokens, row.estimate.operations
    known: dict[str, Any] = row.product.made.get("estimate") or {}
    return int(known.get("tokens") or 0), float(known.get("operations") or 0.0)


def _rows(row: Planned) -> int:
    """How many rows a product has, or is expected to have."""
    read: Callable[[str], Any] = row.estimate.expects.get
    if isinstance(row.product, Product):
        read = row.product.values.get
    value = read("rows")
    return int(value) if isinstance(value, int | float) else 0
