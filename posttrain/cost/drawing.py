"""A recipe drawn as a tree, each stage with its size in words."""

from __future__ import annotations

from posttrain.pipeline.stage import Stage, addresses, nested


def drawing(expression: Stage) -> str:
    """Which stage feeds which, the last first, each with its size; a stage drawn above is named only."""
    address_of = {id(stage): address for address, stage in addresses(expression).items()}
    lines: list[str] = []
    shown: set[int] = set()

    def draw(stage: Stage, field: str, before: str, branch: str, below: str) -> None:
        again = id(stage) in shown and bool(nested(stage))
        size = stage.size()
        title = f"{field} <- {address_of[id(stage)]}" if field else address_of[id(stage)]
        text = "as above" if again else f"{type(stage).__name__}{f': {size}' if size else ''}"
        lines.append(f"{before}{branch}{title} ({text})")
        shown.add(id(stage))
        inside = [] if again else nested(stage)
        for number, (path, child) in enumerate(inside, start=1):
            last = number == len(inside)
            draw(child, path, before + below, "└─ " if last else "├─ ", "   " if last else "│  ")

    draw(expression, "", "", "", "")
    return "\n".join(lines)
