"""Attention in short types: forward is PyTorch's to the bit, gradients are nearer the truth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.models.short_attention import attention


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(call: object, dtype: torch.dtype, masked: bool) -> tuple[Tensor, list[Tensor]]:
    """The result for the same short inputs, and the gradients of q, k and v."""
    inputs = [
        drawn((2, 3, n, 16), seed).bfloat16().to(dtype).requires_grad_()
        for seed, n in enumerate((20, 33, 33))
    ]
    if not masked:
        inputs[0] = drawn((2, 3, 33, 16), 7).bfloat16().to(dtype).requires_grad_()
    mask = None
    if masked:
        seen = torch.arange(33) <= torch.arange(13, 33)[:, None]
        mask = torch.zeros(2, 1, 20, 33, dtype=dtype).masked_fill_(~seen, float("-inf"))
    out = call(*inputs, mask, 0.3)  # type: ignore[operator]
    out.backward(drawn(tuple(out.shape), 9).bfloat16().to(dtype))
    return out.detach(), [x.grad for x in inputs if x.grad is not None]


def plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale)


def off(found: list[Tensor], truth: list[Tensor]) -> float:
    return max(float((a.double() - b).norm() / b.norm()) for a, b in zip(found, truth, strict=True))


@pytest.mark.parametrize("masked", [False, True])
def test_forward_is_pytorchs_and_gradients_are_nearer_the_truth(masked: bool) -> None:
    _, truth = gradients(plain, torch.float64, masked)
    theirs, rough = gradients(plain, torch.bfloat16, masked)
    ours, near = gradients(attention, torch.bfloat16, masked)
    assert torch.equal(ours, theirs)
    assert off(near, truth) < 0.006
    assert off(near, truth) <= off(rough, truth) * 1.05


def test_in_float32_nothing_is_changed() -> None:
    theirs, ours = (gradients(call, torch.float32, True) for call in (plain, attention))
    assert torch.equal(theirs[0], ours[0])
    assert all(torch.equal(a, b) for a, b in zip(theirs[1], ours[1], strict=True))
