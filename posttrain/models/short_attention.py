"""PyTorch's attention where queries are bfloat16 or float16 on a CPU, with its backward pass in float32.

PyTorch's own kernel in short types takes two to three times as long backward as the one in float32,
conversions included (measured: 50 to 250 tokens, 9 heads of 64), and rounds what it adds up. Forward is
PyTorch's own, to the bit, and nothing wider than the inputs is kept between the two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_SHORT = (torch.bfloat16, torch.float16)
_FORWARD = "_scaled_dot_product_flash_attention_for_cpu"
_BACKWARD = f"{_FORWARD}_backward"


class _WideBackward(torch.autograd.Function):
    """Saves what the kernel's own backward pass does: inputs, result, and the logarithms of the row sums."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        causal: bool,
        scale: float | None,
    ) -> Tensor:
        out: Tensor
        out, sums = getattr(torch.ops.aten, _FORWARD)(q, k, v, 0.0, causal, attn_mask=mask, scale=scale)
        ctx.save_for_backward(q, k, v, out, sums)
        ctx.mask, ctx.causal, ctx.scale = mask, causal, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, sums = ctx.saved_tensors
        wide = (x.float() for x in (grads[0], q, k, v, out))
        mask = None if ctx.mask is None else ctx.mask.float()
        grads_in = getattr(torch.ops.aten, _BACKWARD)(
            *wide, sums, 0.0, ctx.causal, attn_mask=mask, scale=ctx.scale
        )
        return *(x.to(q.dtype) for x in grads_in), None, None, None


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """softmax(scale q k' + mask) v of q [b, H, Q, E], k, v [b, H, K, E]; mask [b, 1, Q, K], None: causal."""
    causal = mask is None
    learns = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    has_kernels = hasattr(torch.ops.aten, _FORWARD) and hasattr(torch.ops.aten, _BACKWARD)
    if learns and has_kernels and q.device.type == "cpu" and q.dtype in _SHORT:
        return _WideBackward.apply(q, k, v, mask, causal, scale)  # type: ignore[no-any-return]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
