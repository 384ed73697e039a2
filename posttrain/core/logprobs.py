"""Hidden states to log-probabilities in tiles; the logits are never kept.

Forward and backward hold one tile of [n, v] logits at a time; the backward pass computes them again. A
language model's logits are [N, V] with V often the largest number in sight, so this is where memory is won.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.core.logit_transform import PLAIN, LogitTransform
from posttrain.kernels import tiles
from posttrain.kernels.matmul import matmul_t, rows_to_add

CPU_ELEMENTS = 1 << 20  # logits alive at a time: 4 MB in float32, which stays in a CPU's caches
DEVICE_ELEMENTS = 1 << 25  # 128 MB: enough for a GPU to be busy
ROWS = 512  # of a tile where V is large: the head's weights are fetched once for so many


class Head(NamedTuple):
    """What logits [N, V] are made of."""

    hidden: Tensor  # [N, D]
    weight: Tensor  # [V, D]
    bias: Tensor | None = None  # [V]
    transform: LogitTransform = PLAIN


class Scored(NamedTuple):
    """What a distribution says of the chosen token, and of itself; each [N], float32 or wider."""

    logprobs: Tensor
    entropy: Tensor | None
    kl: Tensor | None


@dataclass(frozen=True)
class _Sums:
    """What the words read so far say of themselves, each [n]; what is not wanted is None."""

    lse: Tensor
    entropy: Tensor | None
    kl: Tensor | None
    other: Tensor | None  # the reference's lse

    def joined(self, more: _Sums) -> _Sums:
        """With more words. The entropy of a choice is that of choosing a part of the words, and on average
        that within the parts; KL likewise (the chain rule).
        """
        lse = torch.logaddexp(self.lse, more.lse)
        log_a, log_b = self.lse - lse, more.lse - lse
        a, b = log_a.exp(), log_b.exp()
        entropy = kl = other = None
        if self.entropy is not None and more.entropy is not None:
            entropy = a * (self.entropy - log_a) + b * (more.entropy - log_b)
        if self.kl is not None and more.kl is not None and self.other is not None and more.other is not None:
            other = torch.logaddexp(self.other, more.other)
            kl = a * (self.kl + log_a - (self.other - other)) + b * (more.kl + log_b - (more.other - other))
        return _Sums(lse, entropy, kl, other)


def _sums(logits: Tensor, reference: Tensor | None, entropy: bool) -> _Sums:
    """The sums over one tile [n, v] of the logits and of the reference's logits; both are overwritten."""
    quick = tiles.supported(logits)  # of both or of neither, so that equal models are 0 apart
    lse, entropies = tiles.lse_and_entropy(logits, entropy) if quick else (logits.logsumexp(-1), None)
    if reference is None and (quick or not entropy):
        return _Sums(lse, entropies, None, None)
    log_p = logits.sub_(lse[:, None])
    p = log_p.exp()
    if entropy and entropies is None:
        entropies = -torch.linalg.vecdot(p, log_p)
    if reference is None:
        return _Sums(lse, entropies, None, None)
    other = tiles.lse_and_entropy(reference, False)[0] if quick else reference.logsumexp(-1)
    log_q = reference.sub_(other[:, None])
    return _Sums(lse, entropies, torch.linalg.vecdot(p, log_p.sub_(log_q)), other)


def _cuts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _here(chosen: Tensor, words: slice) -> tuple[Tensor, Tensor]:
    """Where in a tile of words each chosen one stands, [n, 1], and whether it does, [n] bool."""
    inside = (chosen >= words.start) & (chosen < words.stop)
    return (chosen - words.start).clamp(0, words.stop - words.start - 1)[:, None], inside


def _tile(head: Head, s: slice, words: slice, heat: Tensor | None) -> Tensor:
    out = matmul_t(head.hidden[s], head.weight[words])
    if head.bias is not None:
        out += head.bias[words]
    out = head.transform(out)
    return out if heat is None else out.div_(heat[s, None])


def _gradient(
    logits: Tensor,
    lse: Tensor,
    by_logprob: Tensor,
    entropy: tuple[Tensor, Tensor] | None,
    chosen: tuple[Tensor, Tensor],
    apart: tuple[Tensor, Tensor, Tensor] | None,
) -> Tensor:
    """The gradient by a tile of logits [n, v], which are overwritten.

    ``entropy`` is the gradient by the entropy [n] and the entropy [n]; ``apart`` the gradient by KL [n], KL
    [n], and the reference's log-probabilities [n, v]; ``chosen`` is what ``_here`` returns.
    """
    column, inside = chosen
    if apart is None and tiles.supported(logits):
        return tiles.gradient_(logits, lse, by_logprob, entropy, column[:, 0].where(inside, -1))
    log_p = logits.sub_(lse[:, None])
    scale = -by_logprob[:, None]
    if entropy is not None:
        by_entropy, row_entropy = (x[:, None] for x in entropy)
        scale = scale - by_entropy * (row_entropy + log_p)
    if apart is not None:
        by_kl, kl, log_q = apart
        scale = scale + by_kl[:, None] * (log_p - log_q - kl[:, None])
    gradient = log_p.exp().mul_(scale)
    return gradient.scatter_add_(-1, column, by_logprob.where(inside, 0)[:, None])


class _Tiled(torch.autograd.Function):
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
        heat: Tensor | None,
        transform: LogitTransform,
        against: Head | None,
        wants: tuple[bool, bool, tuple[int, int]],
    ) -> tuple[Tensor, Tensor, Tensor]:
        entropy_wanted, entropy_gradient, (rows, width) = wants
        count, head = hidden.shape[0], Head(hidden, weight, bias, transform)
        logprobs, lse = hidden.new_zeros(count), hidden.new_empty(count)
        entropy = hidden.new_empty(count if entropy_wanted else 0)
        kl, other = (hidden.new_empty(count if against is not None else 0) for _ in range(2))
        for s in _cuts(count, rows):
            sums = None
            for words in _cuts(weight.shape[0], width):
                logits = _tile(head, s, words, heat)
                column, inside = _here(chosen[s], words)
                logprobs[s] += logits.gather(-1, column)[:, 0].where(inside, 0)
                reference = None if against is None else _tile(against, s, words, heat)
                more = _sums(logits, reference, entropy_wanted)
                sums = more if sums is None else sums.joined(more)
            assert sums is not None
            lse[s] = sums.lse
            for result, of_rows in ((entropy, sums.entropy), (kl, sums.kl), (other, sums.other)):
                if of_rows is not None:
                    result[s] = of_rows
        logprobs -= lse
        ctx.save_for_backward(hidden, weight, bias, chosen, heat, lse, entropy, kl, other)
        ctx.transform, ctx.against, ctx.wants = transform, against, wants
        if not entropy_gradient:
            ctx.mark_non_differentiable(entropy)
        return logprobs, entropy, kl

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        hidden, weight, bias, chosen, heat, lse, entropy, kl, other = ctx.saved_tensors
        of_logprobs, of_entropy, of_kl = grads
        against, (_, entropy_gradient, (rows, width)) = ctx.against, ctx.wants
        wanted = ctx.needs_input_grad
        d_hidden = torch.zeros_like(hidden) if wanted[0] else None
        d_weight = None
        if wanted[1]:  # written before it is read, where there are rows at all
            d_weight = torch.empty_like(weight) if len(hidden) else torch.zeros_like(weight)
        d_bias = torch.zeros_like(bias) if wanted[2] else None
        transform: LogitTransform = ctx.transform
        head = Head(hidden, weight, bias, transform)
        for s in _cuts(hidden.shape[0], rows):
            for words in _cuts(weight.shape[0], width):
                logits, column = _tile(head, s, words, heat), _here(chosen[s], words)
                capped = None if transform.cap is None else logits.clone()
                with_gradient = (of_entropy[s], entropy[s]) if entropy_gradient else None
                apart = None
                if against is not None:
                    apart = (of_kl[s], kl[s], _tile(against, s, words, heat).sub_(other[s, None]))
                d_logits = _gradient(logits, lse[s], of_logprobs[s], with_gradient, column, apart)
                if heat is not None:
                    d_logits.div_(heat[s, None])
                    capped = None if capped is None else capped.mul_(heat[s, None])
                d_logits = transform.through(d_logits, capped)
                if d_hidden is not None:
                    d_hidden[s] += matmul_t(d_logits, weight[words].T)
                if d_weight is not None:  # the first rows write, the others add
                    d_weight[words].addmm_(d_logits.T, hidden[s], beta=min(s.start, 1))
                if d_bias is not None:
                    d_bias[words] += d_logits.sum(0)
        return d_hidden, d_weight, d_bias, *[None] * 5


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _tile_sizes(words: int, rows: int, alive: int) -> tuple[int, int]:
    """Rows and words of a tile of logits, so that at most ``alive`` numbers are in memory at a time."""
    if alive // words >= ROWS // 2:
        return alive // words, words
    rows = rows if ROWS < rows <= 2 * ROWS else ROWS
    return rows, max(16, alive // rows // 16 * 16)


def chosen_logprobs(
    hidden: Tensor,
    weight: Tensor,
    chosen: Tensor,
    *,
    temperature: Tensor | None = None,
    bias: Tensor | None = None,
    transform: LogitTransform = PLAIN,
    against: Head | None = None,
    entropy: bool = True,
    entropy_gradient: bool = False,
    tile: tuple[int, int] | None = None,
) -> Scored:
    """Log-probability of each chosen token under
    ``softmax(transform(hidden @ weight.T + bias) / temperature)``.

    The head is computed in float32 at least, whatever the trunk's type. Gradients reach ``hidden``,
    ``weight`` and ``bias``; never ``against``.

    Args:
        hidden: [N, D]: the state that chooses token n.
        weight: [V, D]; bias: [V]; transform: what the model does to its logits.
        chosen: [N] long in [0, V).
        temperature: [N], positive; None is 1.
        against: the reference's hidden [N, D'], weight [V, D'], bias and transform: adds the exact KL from
            it, at the same temperature.
        entropy: whether to compute it; ``entropy_gradient``: whether it may be differentiated.
        tile: rows and words of the logits alive at a time; None chooses by V.

    Returns:
        logprobs, entropy and kl, each [N] or None.

    Raises:
        ValueError: hidden and chosen do not have the same number of rows.
    """
    if hidden.shape[0] != chosen.shape[0]:
        raise ValueError(f"{hidden.shape[0]} hidden states for {chosen.shape[0]} chosen tokens")
    hidden_w, weight_w, bias_w = _wide(hidden), _wide(weight), None if bias is None else _wide(bias)
    heat = None if temperature is None or bool((temperature == 1).all()) else temperature.to(hidden_w)
    count, more = len(hidden_w), rows_to_add(len(hidden_w), hidden_w.device)
    below = (0, 0, 0, more)  # rows that nobody asks for, so that there are few sizes of tiles
    other = None
    if against is not None:
        still, matrix, shift, reshaped = Head(*against)
        shift = None if shift is None else shift.detach().to(hidden_w)
        states = F.pad(still.detach().to(hidden_w), below)
        other = Head(states, matrix.detach().to(hidden_w), shift, reshaped)
    if more:
        hidden_w, chosen = F.pad(hidden_w, below), F.pad(chosen, (0, more))
        heat = None if heat is None else F.pad(heat, (0, more), value=1.0)
    alive = CPU_ELEMENTS if hidden.device.type == "cpu" else DEVICE_ELEMENTS
    if tile is None:
        tile = _tile_sizes(weight.shape[0], len(hidden_w), alive)
    wants = (entropy or entropy_gradient, entropy_gradient, tile)
    results = _Tiled.apply(hidden_w, weight_w, bias_w, chosen, heat, transform, other, wants)
    logprobs, ent, kl = (one[:count] for one in results)
    return Scored(logprobs, ent if entropy or entropy_gradient else None, kl if against is not None else None)
