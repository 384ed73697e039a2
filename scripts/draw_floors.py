"""Draw docs/architecture.svg: the folders of posttrain/ on their floors, and the imports between them.

    python scripts/draw_floors.py

The floors are scripts/floors.py's, the lines come from the imports of every file. A line that follows from
others is left out: where stages imports checks and checks imports rollouts, stages needs no line to rollouts.
Rows are ordered as Sugiyama, Tagawa and Toda (1981) do it: a line that passes a floor has a place of its own
on it, and an item stands near the mean of what it is connected with.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.floors import FLOORS, folder, graph  # noqa: E402

DRAWING = ROOT / "docs" / "architecture.svg"
WIDTH, LEFT, RIGHT = 1120, 64, 1100  # of the drawing, and where items may stand, in pixels
FLOOR_HEIGHT, BOX_HEIGHT, TOP = 76, 34, 14
LETTER, GAP, LINE_WIDTH = 7.8, 14, 12  # pixels of a letter, between items, and of a line that passes
ROUNDS = 24  # of ordering and of placing; more change nothing

Folders = Mapping[str, set[str]]  # folder to the folders that its files import

STYLE = """:root{color-scheme:light dark;--paper:#fff;--ink:#1b1e23;--soft:#5b626c;--band:#f3f4f6;--box:#fff;
--rule:#8a93a0;--line:#0067a6}
@media (prefers-color-scheme:dark){:root{--paper:#14161a;--ink:#e4e6ea;--soft:#9aa1ab;--band:#1d2127;
--box:#262b33;--rule:#6a7380;--line:#62b5ea}}
text{font:13px ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;fill:var(--ink);
text-anchor:middle}
.paper{fill:var(--paper)}.band{fill:var(--band)}
.floor{fill:var(--soft);font-size:12px}
.box{fill:var(--box);stroke:var(--rule)}
.line{fill:none;stroke:var(--line);stroke-width:1.4;stroke-opacity:.75}
#head path{fill:var(--line)}"""


@dataclass
class Item:
    """A folder, or the place on a floor where a line passes it (``name`` is empty)."""

    floor: int
    name: str = ""
    width: float = LINE_WIDTH
    x: float = 0.0  # of the middle
    near: list[Item] = field(default_factory=list)  # what it is connected with, above and below


def folder_imports(edges: Mapping[str, frozenset[str]]) -> dict[str, set[str]]:
    """Every folder of the package, and every module beside the folders, to those that its files import."""
    folders: dict[str, set[str]] = {folder(name): set() for name in sorted(edges) if folder(name)}
    for name, targets in edges.items():
        home = folder(name)
        if home:
            folders[home] |= {folder(target) for target in targets if target.startswith("posttrain.")} - {
                home
            }
    return folders


def needed(folders: Folders) -> dict[str, list[str]]:
    """The imports that do not follow from others, sorted."""
    reach: dict[str, set[str]] = {}
    for name in sorted(folders, key=lambda name: FLOORS[name]):
        reach[name] = folders[name].union(*(reach[target] for target in folders[name]))
    return {
        name: sorted(target for target in targets if not any(target in reach[other] for other in targets))
        for name, targets in folders.items()
    }


def arranged(folders: Folders) -> tuple[dict[int, list[Item]], list[list[Item]]]:
    """Items by floor, from left to right, and of each line the items that it goes through, from the top."""
    boxes = {name: Item(FLOORS[name], name, len(name) * LETTER + 22) for name in sorted(folders)}
    floors: dict[int, list[Item]] = defaultdict(list)
    for box in boxes.values():
        floors[box.floor].append(box)
    lines = []
    for name, targets in needed(folders).items():
        for target in targets:
            passes = [Item(floor) for floor in range(FLOORS[name] - 1, FLOORS[target], -1)]
            for item in passes:
                floors[item.floor].append(item)
            line = [boxes[name], *passes, boxes[target]]
            for above, below in pairwise(line):
                above.near.append(below)
                below.near.append(above)
            lines.append(line)
    for items in floors.values():
        _side_by_side(items)
        shift = (RIGHT - items[-1].x - items[-1].width / 2) / 2
        for item in items:
            item.x += shift
    for turn in range(2 * ROUNDS):
        for floor in sorted(floors, reverse=turn % 2 == 0):
            wanted = {id(item): _mean(item) for item in floors[floor]}
            if turn < ROUNDS:
                floors[floor].sort(key=lambda item: wanted[id(item)])
            for item in floors[floor]:
                item.x = wanted[id(item)]
            _side_by_side(floors[floor])
    return floors, lines


def _mean(item: Item) -> float:
    return sum(other.x for other in item.near) / len(item.near) if item.near else item.x


def _side_by_side(items: list[Item]) -> None:
    """Move items apart, in their order, and between ``LEFT`` and ``RIGHT``."""
    edge = float(LEFT)
    for item in items:
        item.x = max(item.x, edge + item.width / 2)
        edge = item.x + item.width / 2 + GAP
    edge = float(RIGHT)
    for item in reversed(items):
        item.x = min(item.x, edge - item.width / 2)
        edge = item.x - item.width / 2 - GAP


def drawing(folders: Folders) -> str:
    """The SVG's text. Raises ValueError where a floor is wider than the drawing."""
    floors, lines = arranged(folders)
    top = max(floors)
    for floor, items in floors.items():
        if items[0].x - items[0].width / 2 < LEFT - 1:
            raise ValueError(f"floor {floor} is wider than {RIGHT - LEFT} pixels; raise WIDTH and RIGHT")

    def middle(floor: int) -> float:
        return TOP + (top - floor) * FLOOR_HEIGHT + FLOOR_HEIGHT / 2

    height = 2 * TOP + (top + 1) * FLOOR_HEIGHT
    parts = [f'<rect class="paper" width="{WIDTH}" height="{height}"/>']
    for floor in range(top + 1):
        y = middle(floor)
        parts.append(
            f'<rect class="band" x="8" y="{y - 29:g}" width="{WIDTH - 16}" height="58" rx="6"/>'
            f'<text class="floor" x="30" y="{y + 4:g}">{floor}</text>'
        )
    parts += [_path(line, middle) for line in lines]
    for floor in sorted(floors, reverse=True):
        for item in floors[floor]:
            if item.name:
                parts.append(_box(item, middle(floor), sorted(folders[item.name])))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="The folders of posttrain on their '
        f'floors, and the imports between them" xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>\n'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _path(line: list[Item], middle: Callable[[int], float]) -> str:
    """Straight down through each floor that is passed, in curves between them, to the top of the last."""
    half = BOX_HEIGHT / 2
    first, last = line[0], line[-1]
    x, y = first.x, middle(first.floor) + half
    steps = [f"M{x:.0f} {y:.0f}"]
    for item in line[1:]:
        end = middle(item.floor) - half
        bend = (y + end) / 2
        steps.append(f"C{x:.0f} {bend:.0f} {item.x:.0f} {bend:.0f} {item.x:.0f} {end:.0f}")
        x, y = item.x, end
        if item is not last:
            y = middle(item.floor) + half
            steps.append(f"V{y:.0f}")
    title = f"{first.name} imports {last.name}"
    return f'<path class="line" marker-end="url(#head)" d="{"".join(steps)}"><title>{title}</title></path>'


def _box(item: Item, y: float, targets: list[str]) -> str:
    title = f"{item.name} imports {', '.join(targets) or 'no other folder'}"
    return (
        f'<g><title>{escape(title)}</title><rect class="box" x="{item.x - item.width / 2:.0f}" '
        f'y="{y - BOX_HEIGHT / 2:.0f}" width="{item.width:.0f}" height="{BOX_HEIGHT}" rx="5"/>'
        f'<text x="{item.x:.0f}" y="{y + 4.5:.0f}">{escape(item.name)}</text></g>'
    )


def main() -> None:
    DRAWING.write_text(drawing(folder_imports(graph(ROOT))), "utf-8")


if __name__ == "__main__":
    main()
