"""Logits to tokens, with random numbers that are a function of a row's seed and the step, not of a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from posttrain.engines.protocol import Sampling


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """A logical shift to the right: torch's own copies the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def uniforms(seeds: Tensor, step: int) -> Tensor:
    """One number in (0, 1) a row, float64 [R], from seeds [R] int64.

    The step-th output of SplitMix64 (Steele, Lea and Flood 2014) started at the row's seed, cut to 48 bits.
    """
    z = seeds + _signed((step + 1) * _GAMMA & ((1 << 64) - 1))
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    z = z ^ _shifted(z, 31)
    return (_shifted(z, 16).double() + 0.5) / float(1 << 48)


def choose(logits: Tensor, sampling: Sampling, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [R] and their log-probabilities [R] fp32 from logits [R, V] and uniform [R] in (0, 1).

    Inverts the cumulative distribution, so one random number decides a token whatever the vocabulary.
    """
    if sampling.temperature == 0.0:
        logprobs = logits.float().log_softmax(-1)
        tokens = logprobs.argmax(-1)
    else:
        logprobs = (logits.float() / sampling.temperature).log_softmax(-1)
        if sampling.top_p < 1.0:
            logprobs = _nucleus(logprobs, sampling.top_p)
        cumulative = logprobs.exp().cumsum(-1, dtype=torch.float64)
        # right=True finds the first entry above the threshold, which always has positive probability.
        threshold = uniform[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)
    return tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1)


def _nucleus(logprobs: Tensor, top_p: float) -> Tensor:
    """The distribution over the smallest set of likeliest tokens whose probability reaches ``top_p``."""
    ordered, order = logprobs.sort(-1, descending=True)
    probability = ordered.exp()
    outside = probability.cumsum(-1) - probability >= top_p
    kept = torch.empty_like(logprobs).scatter_(-1, order, ordered.masked_fill(outside, float("-inf")))
    return kept.log_softmax(-1)
