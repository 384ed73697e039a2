"""The count of what products alone would take: forward, backward and packed, each in its own type."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.engines import packed
from posttrain.kernels.decode import decode_kernels

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("operations")


def test_a_linear_layer_is_counted_forward_and_backward(operations: Any) -> None:
    layer, x = torch.nn.Linear(16, 32), torch.randn(5, 16, requires_grad=True)
    with operations.Operations() as made:
        layer(x).sum().backward()
    assert made.count == {"float32": 3 * 2 * 5 * 16 * 32}


@pytest.mark.parametrize("compiled", [True, False])
def test_a_packed_layer_is_counted_with_what_follows_it(operations: Any, compiled: bool) -> None:
    like = torch.device("cpu"), torch.float32
    layer = packed.linear([torch.randn(32, 16)], None, None, like, decode_kernels() if compiled else None)
    x, other = torch.randn(5, 16), torch.randn(5, 32)
    with operations.Operations() as made:
        layer(x)
        layer.silu(x)
        layer.plus(x, other)
    assert made.count["float32"] == 3 * 2 * 5 * 16 * 32


def test_types_are_counted_apart(operations: Any) -> None:
    a, b = torch.randn(4, 8), torch.randn(8, 2)
    with operations.Operations() as made:
        a @ b
        a.bfloat16() @ b.bfloat16()
        torch.bmm(a[None], b[None])
    assert made.count == {"float32": 2 * 2 * 4 * 8 * 2, "bfloat16": 2 * 4 * 8 * 2}
    assert operations.least_seconds({"float32": 0.0}, iter(range(99)).__next__) == 0.0
