"""Logits to tokens, with random numbers that are a function of a row's seed and the step, not of a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from posttrain.kernels.decode import decode_kernels


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)
_BLOCK = 256  # tokens whose probabilities are summed first: one of V / 256 sums is looked up, then one of 256


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A logical shift to the right: torch's own copies the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def uniforms(seeds: Tensor, steps: Tensor) -> Tensor:
    """Numbers in (0, 1), float64, from int64 seeds and steps that broadcast.

    Output ``step`` of SplitMix64 (Steele, Lea and Flood 2014) started at the seed, cut to 48 bits.
    """
    z = seeds + (steps + 1) * _GAMMA
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    z = z ^ _shifted(z, 31)
    return (_shifted(z, 16).double() + 0.5) / float(1 << 48)


def choose(
    logits: Tensor, temperature: Tensor | None, top_p: Tensor | None, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens [R] and their log-probabilities [R] fp32 from logits [R, V] and uniform [R] in (0, 1).

    Inverts the cumulative distribution, so one random number decides a token whatever the vocabulary, and the
    same sum normalises the probability. temperature [R], None where all are 1; 0 takes the likeliest token,
    with its log-probability at temperature 1. top_p [R], None where all are 1.
    """
    compiled = decode_kernels()
    if compiled is not None and top_p is None and compiled.supports(logits.device, logits.dtype, 0):
        return compiled.choose(logits, temperature, uniform)
    z = logits.float()
    greedy = None if temperature is None else temperature == 0
    if temperature is not None and greedy is not None:
        z = z / temperature.masked_fill(greedy, 1.0)[:, None]
    if top_p is not None:
        z = z.where((top_p >= 1.0)[:, None], _nucleus(z, top_p[:, None]))
    top = z.amax(-1, keepdim=True)
    weights = _weights(z, top)
    sums = weights.sum(-1).double().cumsum(-1)  # [R, V / 256]
    threshold = uniform[:, None] * sums[:, -1:]
    # right=True finds the first entry above the threshold, which always has positive probability.
    block = torch.searchsorted(sums, threshold, right=True)
    below = torch.where(block > 0, sums.gather(-1, (block - 1).clamp_min(0)), 0.0)
    share = (threshold - below) / (sums.gather(-1, block) - below)
    inside = weights[torch.arange(len(z), device=z.device), block[:, 0]].double().cumsum(-1)  # [R, 256]
    # Rounding must not push the share to 1, above every entry.
    offset = torch.searchsorted(inside, share.clamp(0.0, 1.0 - 2.0**-40) * inside[:, -1:], right=True)
    tokens = block * _BLOCK + offset
    if greedy is not None and bool(greedy.any()):
        tokens = torch.where(greedy[:, None], z.argmax(-1, keepdim=True), tokens)
    logprobs = (z.gather(-1, tokens) - top).double() - sums[:, -1:].log()
    return tokens[:, 0], logprobs[:, 0].float()


def _weights(z: Tensor, top: Tensor) -> Tensor:
    """exp(z - top) in blocks [R, V / 256, 256], with zeros after the last token."""
    rows, count = z.shape
    padded = -(-count // _BLOCK) * _BLOCK
    weights = z.new_empty(rows, padded)
    weights[:, count:] = 0.0
    used = weights[:, :count]
    torch.sub(z, top, out=used)
    used.exp_()
    return weights.view(rows, -1, _BLOCK)


def _nucleus(z: Tensor, top_p: Tensor) -> Tensor:
    """Logits of the smallest set of likeliest tokens whose probability reaches ``top_p`` [R, 1]."""
    ordered, order = z.sort(-1, descending=True)
    probability = ordered.softmax(-1)
    outside = probability.cumsum(-1) - probability >= top_p
    return torch.empty_like(z).scatter_(-1, order, ordered.masked_fill(outside, float("-inf")))
