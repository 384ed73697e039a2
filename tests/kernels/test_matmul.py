"""Matrix products are those of PyTorch's linear, with its gradients, whichever library makes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.kernels import matmul


@pytest.fixture(autouse=True)
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Intel's processors too, where the default is used."""
    monkeypatch.setattr(matmul, "_ONEDNN", matmul._has_onednn())


@pytest.fixture(params=["quick", "plain"])
def shape(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    return (320, 300, 260) if request.param == "quick" else (70, 30, 26)


def drawn(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    rows, inputs, outputs = shape
    sizes = ((2, rows // 2, inputs), (outputs, inputs), (outputs,))
    x, weight, bias = (torch.randn(size, generator=g, dtype=dtype).requires_grad_() for size in sizes)
    return x, weight, bias


def test_the_larger_shape_takes_the_quick_way() -> None:
    if not matmul._ONEDNN:
        pytest.skip("this PyTorch has no oneDNN")
    x, weight, _ = drawn((320, 300, 260))
    assert matmul._by_onednn(x, weight)
    assert not matmul._by_onednn(x.double(), weight.double())


@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients_are_those_of_linear(shape: tuple[int, int, int], biased: bool) -> None:
    x, weight, bias = drawn(shape)
    inputs = [x, weight, *([bias] if biased else [])]
    out = matmul.linear(*inputs)
    expected = F.linear(*inputs)
    assert torch.allclose(out, expected, atol=1e-4)
    toward = torch.linspace(-1, 1, out.numel()).view_as(out)
    for found, plain in zip(
        torch.autograd.grad(out, inputs, toward), torch.autograd.grad(expected, inputs, toward), strict=True
    ):
        assert torch.allclose(found, plain, atol=1e-3)


def test_only_wanted_gradients_are_made() -> None:
    x, weight, _ = drawn((320, 300, 260))
    matmul.linear(x, weight.detach()).sum().backward()
    assert x.grad is not None
    matmul.linear(x.detach(), weight).sum().backward()
    assert weight.grad is not None


def test_under_autocast_the_result_is_short() -> None:
    x, weight, bias = drawn((320, 300, 260))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert matmul.linear(x, weight, bias).dtype == torch.bfloat16


def test_matmul_t_is_linear_without_a_graph(shape: tuple[int, int, int]) -> None:
    x, weight, _ = (one.detach() for one in drawn(shape))
    x = x.flatten(0, 1)
    assert torch.allclose(matmul.matmul_t(x, weight), x @ weight.T, atol=1e-4)
    across = weight.T.contiguous().T  # a matrix that lies the other way round
    assert torch.equal(matmul.matmul_t(x, across), matmul.matmul_t(x, weight))


@pytest.mark.parametrize(
    ("rows", "more"), [(64, 0), (255, 0), (256, 0), (257, 63), (1000, 24), (2047, 1), (2049, 255)]
)
def test_rows_are_added_up_to_sizes_of_which_there_are_few(rows: int, more: int) -> None:
    if not matmul._ONEDNN:
        pytest.skip("this PyTorch has no oneDNN")
    assert matmul.rows_to_add(rows, torch.device("cpu")) == more
    weight = torch.randn(260, 300)
    assert matmul._by_onednn(torch.randn(rows + more, 300), weight) == (rows >= 256)
    assert not matmul._by_onednn(torch.randn(257, 300), weight)
    assert matmul.rows_to_add(257, torch.device("meta")) == 0
