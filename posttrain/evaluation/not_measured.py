"""What an evaluation leaves out because the recipe was asked for quick evidence."""

from __future__ import annotations

from collections.abc import Sequence

HOW = "evidence=full"


def not_measured(left_out: Sequence[str]) -> tuple[dict[str, float | int | str], list[str]]:
    """A figure ``not_measured/NAME`` for each control that was left out, and one note for the report.

    Args:
        left_out: "NAME: what the control shows" of each.
    """
    if not left_out:
        return {}, []
    parts = [text.partition(": ") for text in left_out]
    figures: dict[str, float | int | str] = {f"not_measured/{name}": f"{HOW} adds it" for name, _, _ in parts}
    named = "; ".join(f"{name} ({shows})" for name, _, shows in parts)
    return figures, [f"Not measured: {named}. {HOW} adds {'it' if len(parts) == 1 else 'them'}."]
