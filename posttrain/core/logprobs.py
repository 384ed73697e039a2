"""Hidden states to log-probabilities in chunks; the logits are never kept.

Forward and backward hold at most ``chunk`` rows of [V] at a time; the backward pass computes them again. A
language model's logits are [N, V] with V often the largest number in sight, so this is where memory is won.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

CPU_ELEMENTS = 1 << 20  # logits alive at a time: 4 MB in float32, which stays in a CPU's caches
DEVICE_ELEMENTS = 1 << 25  # 128 MB: enough for a GPU to be busy


class Scored(NamedTuple):
    """What a distribution says of the chosen token, and of itself; each [N], float32 or wider."""

    logprobs: Tensor
    entropy: Tensor | None
    kl: Tensor | None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: Tensor | None) -> Tensor:
    out = hidden @ weight.T
    if bias is not None:
        out += bias
    return out if temperature is None else out.div_(temperature[:, None])


class _Chunked(torch.autograd.Function):
    """Saves inputs and [N] results only. The gradients in the logits z of p = softmax(z), with l = log p:

    log p_a: onehot(a) - p;   H: -p (l + H);   KL(p || q): p (l - log q - KL).
    """

    @staticmethod
    def forward(  # type: ignore[override]  # size: autograd wants tensors as arguments
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        chosen: Tensor,
        temperature: Tensor | None,
        against: tuple[Tensor, Tensor, Tensor | None] | None,
        wants: tuple[bool, bool, int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        entropy_wanted, _, chunk = wants
        count = hidden.shape[0]
        logprobs, lse = hidden.new_empty(count), hidden.new_empty(count)
        entropy = hidden.new_empty(count if entropy_wanted else 0)
        kl = hidden.new_empty(count if against is not None else 0)
        for start in range(0, count, chunk):
            s = slice(start, min(start + chunk, count))
            heat = None if temperature is None else temperature[s]
            logits = _logits(hidden[s], weight, bias, heat)
            lse[s] = logits.logsumexp(-1)
            logprobs[s] = logits.gather(-1, chosen[s, None])[:, 0] - lse[s]
            if not entropy_wanted and against is None:
                continue
            logits -= lse[s, None]
            p = logits.exp()
            if entropy_wanted:
                entropy[s] = -torch.linalg.vecdot(p, logits)
            if against is not None:
                kl[s] = torch.linalg.vecdot(p, logits.sub_(_reference(against, s, heat)))
        ctx.save_for_backward(hidden, weight, bias, chosen, temperature, lse, entropy, kl)
        ctx.against, ctx.wants = against, wants
        ctx.mark_non_differentiable(lse)
        if not wants[1]:
            ctx.mark_non_differentiable(entropy)
        return logprobs, entropy, kl

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        hidden, weight, bias, chosen, temperature, lse, entropy, kl = ctx.saved_tensors
        of_logprobs, of_entropy, of_kl = grads
        against, (_, entropy_gradient, chunk) = ctx.against, ctx.wants
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        d_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        d_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        for start in range(0, hidden.shape[0], chunk):
            s = slice(start, min(start + chunk, hidden.shape[0]))
            heat = None if temperature is None else temperature[s]
            log_p = _logits(hidden[s], weight, bias, heat).sub_(lse[s, None])
            p = log_p.exp()
            scale = -of_logprobs[s]
            if entropy_gradient:
                scale = (scale - of_entropy[s] * entropy[s])[:, None] - of_entropy[s, None] * log_p
            if against is not None:
                further = log_p - _reference(against, s, heat) - kl[s, None]
                scale = (scale if scale.dim() == 2 else scale[:, None]) + of_kl[s, None] * further
            d_logits = p.mul_(scale if scale.dim() == 2 else scale[:, None])
            d_logits.scatter_add_(-1, chosen[s, None], of_logprobs[s, None])
            if heat is not None:
                d_logits.div_(heat[:, None])
            if d_hidden is not None:
                torch.mm(d_logits, weight, out=d_hidden[s])
            if d_weight is not None:
                d_weight.addmm_(d_logits.T, hidden[s])
            if d_bias is not None:
                d_bias += d_logits.sum(0)
        return d_hidden, d_weight, d_bias, None, None, None, None


def _reference(against: tuple[Tensor, Tensor, Tensor | None], s: slice, heat: Tensor | None) -> Tensor:
    hidden, weight, bias = against
    logits = _logits(hidden[s], weight, bias, heat)
    return logits.sub_(
        logits.logsumexp(-1, keepdim=True)
    )  # as the policy's, so that equal models are 0 apart


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def chosen_logprobs(  # size: a head is three tensors, and there may be two heads
    hidden: Tensor,
    weight: Tensor,
    chosen: Tensor,
    *,
    temperature: Tensor | None = None,
    bias: Tensor | None = None,
    against: tuple[Tensor, Tensor, Tensor | None] | None = None,
    entropy: bool = True,
    entropy_gradient: bool = False,
    chunk: int | None = None,
) -> Scored:
    """Log-probability of each chosen token under ``softmax((hidden @ weight.T + bias) / temperature)``.

    The head is computed in float32 at least, whatever the trunk's type. Gradients reach ``hidden``,
    ``weight`` and ``bias``; never ``against``.

    Args:
        hidden: [N, D]: the state that chooses token n.
        weight: [V, D]; bias: [V].
        chosen: [N] long in [0, V).
        temperature: [N], positive; None is 1.
        against: the reference's (hidden [N, D'], weight [V, D'], bias): adds the exact KL from it, at the
            same temperature.
        entropy: whether to compute it; ``entropy_gradient``: whether it may be differentiated.
        chunk: rows of logits alive at a time; None chooses by V.

    Returns:
        logprobs, entropy and kl, each [N] or None.

    Raises:
        ValueError: hidden and chosen do not have the same number of rows.
    """
    if hidden.shape[0] != chosen.shape[0]:
        raise ValueError(f"{hidden.shape[0]} hidden states for {chosen.shape[0]} chosen tokens")
    hidden_w, weight_w, bias_w = _wide(hidden), _wide(weight), None if bias is None else _wide(bias)
    heat = None if temperature is None else temperature.to(hidden_w)
    other = None
    if against is not None:
        reference = tuple(None if x is None else x.detach().to(hidden_w) for x in against)
        other = (reference[0], reference[1], reference[2])
    alive = CPU_ELEMENTS if hidden.device.type == "cpu" else DEVICE_ELEMENTS
    rows = chunk or max(1, alive // weight.shape[0])
    logprobs, ent, kl = _Chunked.apply(
        hidden_w, weight_w, bias_w, chosen, heat, other, (entropy or entropy_gradient, entropy_gradient, rows)
    )
    return Scored(logprobs, ent if entropy or entropy_gradient else None, kl if against is not None else None)
