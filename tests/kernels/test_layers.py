"""Norm, gate and rotation of layers.c are PyTorch's, forward and backward."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from posttrain.kernels import layers
from tests.kernels.paths import COMPILED, computed_by


@pytest.fixture(autouse=True, params=COMPILED)
def path(request: pytest.FixtureRequest) -> Iterator[None]:
    with computed_by(request.param):
        yield


def test_a_frozen_norm_gives_no_gradient_by_its_scale() -> None:
    x = torch.randn(70, 32, requires_grad=True)
    scale = torch.rand(32)
    layers.rms_norm(x, scale, 1e-6, torch.float32).sum().backward()
    assert x.grad is not None
    assert scale.grad is None


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 300])
def test_gradients_of_the_norm_do_not_depend_on_the_number_of_threads(rows: int) -> None:
    torch.manual_seed(0)
    x, scale, g = torch.randn(rows, 200), torch.rand(200), torch.randn(rows, 200)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        inputs = x.clone().requires_grad_(), scale.clone().requires_grad_()
        layers.rms_norm(*inputs, 1e-6, torch.float32).backward(g)
        found.append([one.grad for one in inputs])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    wide = x.double().requires_grad_(), scale.double().requires_grad_()
    (wide[1] * wide[0] * (wide[0].pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()).backward(g.double())
    for own, exact in zip(found[0], wide, strict=True):
        assert torch.allclose(own.double(), exact.grad, atol=1e-4)


@pytest.mark.parametrize("far", [0.0, 1.0, 30.0, 1e4])
def test_the_gate_is_exact_from_flat_to_steep(far: float) -> None:
    torch.manual_seed(0)
    gate, up, g = (
        torch.randn(3, 100) + far * torch.tensor([[-1.0], [0.0], [1.0]]),
        torch.randn(3, 100),
        torch.randn(3, 100),
    )
    inputs = gate.clone().requires_grad_(), up.clone().requires_grad_()
    out = layers.silu_gate(*inputs)
    out.backward(g)
    wide = gate.double().requires_grad_(), up.double().requires_grad_()
    expected = torch.nn.functional.silu(wide[0]) * wide[1]
    expected.backward(g.double())
    assert torch.allclose(out.double(), expected, rtol=1e-5, atol=1e-6)
    for own, exact in zip(inputs, wide, strict=True):
        assert torch.allclose(own.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)


def test_a_gate_is_made_of_vectors() -> None:
    """Left a number at a time it takes 20 times as long: GCC did so with AVX2 alone."""
    gate, up, g = (torch.randn(100_000) for _ in range(3))

    def fastest(call: Callable[[], object]) -> float:
        seconds = []
        for _ in range(40):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    def back(gate_of: Callable[..., Tensor]) -> None:
        inputs = [gate.clone().requires_grad_(), up.clone().requires_grad_()]
        torch.autograd.grad(gate_of(*inputs), inputs, g)

    def plain(gate: Tensor, up: Tensor) -> Tensor:
        return torch.nn.functional.silu(gate) * up

    assert fastest(lambda: back(layers.silu_gate)) < 4 * fastest(lambda: back(plain))


def test_a_gate_of_what_is_no_number_is_none() -> None:
    broken = torch.tensor([float("nan"), float("inf"), 1.0])
    out = layers.silu_gate(broken, torch.ones(3))
    assert out.isnan().tolist() == [True, False, False]
    assert out[1] == float("inf")


def test_a_rotation_is_that_of_transformers_and_its_gradient_turns_back() -> None:
    torch.manual_seed(0)
    x, g, angle = torch.randn(5, 3, 32), torch.randn(5, 3, 32), torch.randn(5, 16)
    cos, sin = (torch.cat((wave, wave), -1) for wave in (angle.cos(), angle.sin()))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = layers.rotate(ours, cos, sin)
    halves = torch.cat((-theirs[..., 16:], theirs[..., :16]), -1)
    expected = theirs * cos[:, None] + halves * sin[:, None]
    torch.testing.assert_close(out, expected)
    out.backward(g)
    expected.backward(g)
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_what_the_kernels_do_not_compute_is_said(dtype: torch.dtype) -> None:
    assert layers.supported(torch.ones(2), torch.ones(2, dtype=torch.bfloat16))
    assert not layers.supported(torch.ones(2), torch.ones(2, dtype=dtype))
    assert not layers.supported(torch.ones(2, device="meta"))
