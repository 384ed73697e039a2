"""Rows as one line: every row is found again, and what is shared stands once."""

from __future__ import annotations

import pytest
import torch

from posttrain.models.prefix_tree import PrefixTree, build_tree, sort_by_prefix

CPU = torch.device("cpu")
GROUP = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 7], [1, 2, 3, 4, 5, 9, 9, 9], [1, 2, 3, 4]]
ROWS = {
    "a group and a stranger": [[8, 8, 8], *GROUP],
    "the same row twice": [[1, 2, 3], [1, 2, 3], [1, 2]],
    "nothing shared": [[1, 2], [2, 1], [3, 3, 3, 3]],
    "one token": [[5]],
    "long ones": [[9] * 80, [9] * 40 + [1] * 50, [7] * 70, [7] * 69 + [6], [5] * 70],
}


def grown(rows: list[list[int]]) -> tuple[list[list[int]], PrefixTree]:
    order, shared = sort_by_prefix(rows)
    rows = [rows[i] for i in order]
    return rows, build_tree(rows, shared, CPU)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_path(name: str) -> None:
    rows, tree = grown(ROWS[name])
    for row, path in zip(rows, tree.paths, strict=True):
        assert tree.tokens[path].tolist() == row
        assert tree.positions[path].tolist() == list(range(len(row)))


@pytest.mark.parametrize("name", ROWS)
def test_what_begins_alike_stands_once(name: str) -> None:
    rows, tree = grown(ROWS[name])
    beginnings = {tuple(row[: i + 1]) for row in rows for i in range(len(row))}
    assert len(tree.tokens) == len(beginnings)
    assert sum(tree.sizes) == len(tree.tokens)


@pytest.mark.parametrize("name", ROWS)
def test_a_token_sees_its_own_row_up_to_itself(name: str) -> None:
    _, tree = grown(ROWS[name])
    seen = {path[i]: path[: i + 1] for path in tree.paths for i in range(len(path))}
    start = 0
    for block in tree.blocks:
        b, Q = block.shape
        own = torch.arange(b * Q).view(b, Q) if block.queries is None else block.queries
        keys = own + start if block.keys is None else block.keys
        sees = torch.ones(Q, keys.shape[1]).tril().bool().expand(b, 1, -1, -1)
        sees = sees if block.sees is None else block.sees
        real = torch.arange(b * Q) if block.real is None else block.real
        found = {}
        for place in real.tolist():
            row, step = divmod(place, Q)
            found[start + int(own[row, step])] = keys[row][sees[row, 0, step]].tolist()
        assert found == {node: seen[node] for node in range(start, start + block.count)}
        start += block.count


def test_rows_of_one_shape_are_one_block_as_they_lie() -> None:
    _, tree = grown([[i] * 6 for i in range(9)])
    (block,) = tree.blocks
    assert block.shape == (9, 6)
    assert block.queries is block.keys is block.sees is None


def test_rows_too_unlike_are_not_padded_to_each_other() -> None:
    _, tree = grown([[1] * 10, [2] * 200])
    assert [block.shape for block in tree.blocks] == [(1, 10), (1, 200)]


@pytest.mark.parametrize("name", ROWS)
def test_what_is_fetched_at_once_is_what_each_block_names(name: str) -> None:
    _, tree = grown(ROWS[name])
    at, line = tree.fetched, torch.arange(len(tree.tokens))
    queries = line if at.queries is None else at.queries
    keys = line if at.keys is None else at.keys
    assert queries[line if at.real is None else at.real].tolist() == line.tolist()
    start = asked = known = 0
    for block in tree.blocks:
        b, Q = block.shape
        own = torch.arange(block.count) if block.queries is None else block.queries.flatten()
        assert queries[asked : asked + b * Q].tolist() == (own + start).tolist()
        wanted = own + start if block.keys is None else block.keys.flatten()
        assert keys[known : known + b * block.width].tolist() == wanted.tolist()
        start, asked, known = start + block.count, asked + b * Q, known + b * block.width
    assert (asked, known) == (len(queries), len(keys))
