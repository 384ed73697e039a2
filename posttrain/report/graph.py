"""The recipe as a picture: stages in columns from left to right, arrows to where each product is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from posttrain.report import svg

_BOX, _GAP = 54.0, 20.0
_ROUTE = 14.0  # height kept free for an arrow that passes a column by
_COLUMN_GAP = 46.0
_MANY = 5  # arrows to one stage from which on they are drawn faint: it looks at everything


@dataclass(frozen=True, kw_only=True)
class Node:
    """A stage: its address, what it does, and one line of what came out."""

    name: str
    does: str = ""
    says: str = ""
    trouble: bool = False


def columns(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The column of each stage: after all its inputs; what has no input stands just before its first use.

    ``names`` are in the order of making, so inputs come before what uses them.
    """
    inputs: dict[str, list[str]] = {name: [] for name in names}
    uses: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        inputs[target].append(source)
        uses[source].append(target)
    column_of: dict[str, int] = {}
    for name in names:
        column_of[name] = max(
            (column_of[source] + 1 for source in inputs[name] if source in column_of), default=0
        )
    for name in names:
        if not inputs[name] and uses[name]:
            column_of[name] = min(column_of[user] for user in uses[name]) - 1
    least = min(column_of.values(), default=0)
    return {name: column - least for name, column in column_of.items()}


def _routes(
    column_of: Mapping[str, int], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[str]], list[list[str]]]:
    """Stages and way points by column, and each edge as the way points it passes."""
    layers: list[list[str]] = [[] for _ in range(max(column_of.values(), default=-1) + 1)]
    for name, column in column_of.items():
        layers[column].append(name)
    ways = []
    for source, target in edges:
        way = [source]
        for column in range(column_of[source] + 1, column_of[target]):
            point = f"{source}\0{column}"  # edges of one source share their way
            if point not in layers[column]:
                layers[column].append(point)
            way.append(point)
        ways.append([*way, target])
    return layers, ways


def _untangle(layers: list[list[str]], ways: Sequence[Sequence[str]]) -> None:
    """Order each column by the mean place of its neighbours, a few sweeps there and back (Sugiyama 1981)."""
    before: dict[str, set[str]] = {}
    after: dict[str, set[str]] = {}
    for way in ways:
        for one, other in pairwise(way):
            after.setdefault(one, set()).add(other)
            before.setdefault(other, set()).add(one)
    for sweep in range(8):
        near, order = (before, layers[1:]) if sweep % 2 == 0 else (after, layers[-2::-1])
        position = {name: k / len(layer) for layer in layers for k, name in enumerate(layer)}
        for layer in order:
            weight = {}
            for name in layer:
                around = [position[other] for other in sorted(near.get(name, ()))]
                weight[name] = sum(around) / len(around) if around else position[name]
            layer.sort(key=weight.__getitem__)
            position |= {name: k / len(layer) for k, name in enumerate(layer)}


def _height(name: str) -> float:
    return _ROUTE if "\0" in name else _BOX


def diagram(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> str:
    """An SVG of the recipe; empty where there is nothing to draw."""
    if not nodes:
        return ""
    by_name = {node.name: node for node in nodes}
    layers, ways = _routes(columns(list(by_name), edges), edges)
    _untangle(layers, ways)
    widths = [
        max((_width(by_name[name]) for name in layer if name in by_name), default=40.0) for layer in layers
    ]
    heights = [sum(map(_height, layer)) + _GAP * (len(layer) - 1) for layer in layers]
    total = max(heights)
    left, box = 2.0, {}
    for layer, width, height in zip(layers, widths, heights, strict=True):
        top = 4 + (total - height) / 2
        for name in layer:
            box[name] = (left, top, width, _height(name))
            top += _height(name) + _GAP
        left += width + _COLUMN_GAP
    crowded = {target for _, target in edges if sum(other == target for _, other in edges) > _MANY}
    arrows = [_arrow([box[point] for point in way], faint=way[-1] in crowded) for way in ways]
    boxes = [_node(node, box[node.name]) for node in nodes]
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 1L7 4L0 7" class="head"/></marker></defs>'
    )
    width = left - _COLUMN_GAP + 2
    label = "; ".join(f"{source} to {target}" for source, target in edges) or ", ".join(by_name)
    return svg.drawing(
        width, total + 8, [head, *arrows, *boxes], label, class_="graph", style=f"max-width:{width:.0f}px"
    )


def _width(node: Node) -> float:
    widest = max(svg.width_of(node.name, 13), svg.width_of(node.does, 11), svg.width_of(node.says, 11))
    return max(84.0, widest + 22)


def _arrow(boxes: Sequence[tuple[float, float, float, float]], *, faint: bool) -> str:
    left, top, width, height = boxes[0]
    x, y = left + width, top + height / 2
    path = f"M{x:.1f} {y:.1f}"
    for index, (left, top, width, height) in enumerate(boxes[1:], start=1):
        to_x, to_y = left - (2 if index == len(boxes) - 1 else 0), top + height / 2
        bend = (to_x - x) / 2
        path += f"C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
        if index < len(boxes) - 1:
            path += f"L{left + width:.1f} {to_y:.1f}"
        x, y = left + width, to_y
    return svg.tag("path", d=path, class_="arrow faint" if faint else "arrow", marker_end="url(#head)")


def _node(node: Node, box: tuple[float, float, float, float]) -> str:
    left, top, width, height = box
    kind = "box trouble" if node.trouble else "box"
    shape = svg.tag("rect", x=left, y=top, width=width, height=height, rx=3, class_=kind)
    lines = [(node.name, "name"), (node.does, "note"), (node.says, "says")]
    shown = [(words, class_) for words, class_ in lines if words]
    first = top + height / 2 - 7.5 * (len(shown) - 1) + 4
    return shape + "".join(
        svg.text(left + 11, first + 15 * index, words, class_=class_)
        for index, (words, class_) in enumerate(shown)
    )
