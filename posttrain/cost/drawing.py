"""A recipe drawn as a tree, each stage with its size in words."""

from __future__ import annotations

from posttrain.pipeline.stage import Stage, addresses, nested

# Fields that say how large a stage is, and how they are worded.
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


def size_of(stage: Stage) -> str:
    """A stage's size in words, from its own settings: ``6,000 rows``, ``45 steps, 192 prompts a step``."""
    prompts, size = getattr(stage, "batch_shape", (None, None))  # as it comes out, not as it was asked for
    computed = {"prompts_per_step": prompts, "group_size": size} if prompts else {}
    words = []
    for name, wording in COUNTED:
        value = computed.get(name, getattr(stage, name, None))
        if isinstance(value, int) and not isinstance(value, bool) and value > (name != "rows") * ONCE:
            words.append(wording.format(f"{value:,}"))
    weights = [f"{one.weight:g} {one.name}" for one in getattr(stage, "sources", ())]
    return ", ".join(words + ([" : ".join(weights)] if weights else []))


def drawing(expression: Stage) -> str:
    """Which stage feeds which, the last first, each with its size; a stage drawn above is named only."""
    address_of = {id(stage): address for address, stage in addresses(expression).items()}
    lines: list[str] = []
    shown: set[int] = set()

    def draw(stage: Stage, field: str, before: str, branch: str, below: str) -> None:
        again = id(stage) in shown and bool(nested(stage))
        size = size_of(stage)
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
