"""Every compiled path gives what PyTorch gives, and a row's bits depend on nothing but the row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from posttrain.engines.choose import choose
from posttrain.engines.packed import linear
from posttrain.kernels import decode
from tests.kernels.paths import COMPILED, computed_by

SHAPES = [(4, 2, 16), (3, 3, 32), (9, 3, 64), (8, 1, 128), (6, 2, 40)]  # heads, key heads, width
TYPES = {torch.float32: 3e-6, torch.bfloat16: 2e-2}
ROWS, COLUMNS = 7, 48


@pytest.fixture(autouse=True, params=COMPILED)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    with computed_by(request.param):
        yield request.param


@pytest.fixture
def kernels() -> decode.DecodeKernels:
    found = decode.decode_kernels()
    assert found is not None
    return found


def drawn(heads: int, key_heads: int, width: int, kind: torch.dtype) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(heads)
    angle = torch.randn(COLUMNS, width // 2, generator=g)
    cos, sin = angle.cos(), angle.sin()
    cache = torch.randn(2, ROWS, key_heads, COLUMNS, width, generator=g).to(kind)
    return {
        "fused": torch.randn(ROWS, (heads + 2 * key_heads) * width, generator=g).to(kind),
        "keys": cache[0].clone(),
        "values": cache[1].clone(),
        "cos": torch.cat((cos, cos), -1),
        "sin": torch.cat((-sin, sin), -1),
        "past": torch.tensor([0, 1, 2, 3, 17, 30, COLUMNS - 1]),
    }


def called(kernels: decode.DecodeKernels, x: dict[str, Tensor], heads: int) -> Tensor:
    return kernels.attend(x["fused"], x["keys"], x["values"], (x["cos"], x["sin"]), x["past"], heads)


def by_torch(x: dict[str, Tensor], heads: int, key_heads: int, width: int) -> Tensor:
    kind, out = x["fused"].dtype, []
    for row, n in enumerate(x["past"].tolist()):
        parts = x["fused"][row].view(-1, width)
        both = parts[: heads + key_heads].float()
        both = (both * x["cos"][n] + both.roll(width // 2, -1) * x["sin"][n]).to(kind)
        x["keys"][row, :, n], x["values"][row, :, n] = both[heads:], parts[heads + key_heads :]
        keys, values = (
            x[name][row, :, : n + 1].double().repeat_interleave(heads // key_heads, 0)
            for name in ("keys", "values")
        )
        scores = (both[:heads, None].double() * keys).sum(-1) / width**0.5
        out.append((scores.softmax(-1)[..., None] * values).sum(1).flatten())
    return torch.stack(out)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_is_that_of_float64(kernels: decode.DecodeKernels, shape: Any, kind: torch.dtype) -> None:
    heads, key_heads, width = shape
    ours, theirs = drawn(*shape, kind), drawn(*shape, kind)
    found, expected = called(kernels, ours, heads), by_torch(theirs, heads, key_heads, width)
    torch.testing.assert_close(found.double(), expected, rtol=TYPES[kind], atol=TYPES[kind])
    for name in ("keys", "values"):  # what joined the cache, and what it left alone
        torch.testing.assert_close(
            ours[name], theirs[name], rtol=1e-6 if kind == torch.float32 else 1e-2, atol=1e-6
        )


@pytest.mark.parametrize("kind", TYPES)
def test_a_row_does_not_see_the_others_nor_the_threads(
    kernels: decode.DecodeKernels, kind: torch.dtype
) -> None:
    whole = called(kernels, drawn(9, 3, 64, kind), 9)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for row in range(ROWS):
            alone = drawn(9, 3, 64, kind)
            for name in ("fused", "keys", "values", "past"):
                alone[name] = alone[name][row : row + 1].clone()
            assert torch.equal(called(kernels, alone, 9)[0], whole[row])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("width", [1, 30, 576])
def test_norm_is_that_of_torch(kernels: decode.DecodeKernels, width: int, kind: torch.dtype) -> None:
    x = torch.randn(5, width).to(kind) * 10
    torch.testing.assert_close(
        kernels.norm(x, 1e-5), F.rms_norm(x, (width,), None, 1e-5), rtol=TYPES[kind], atol=1e-6
    )


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("count", [1, 255, 256, 257, 5000])
def test_the_same_tokens_as_without(
    kernels: decode.DecodeKernels, monkeypatch: pytest.MonkeyPatch, count: int, kind: torch.dtype
) -> None:
    rows = 400
    logits = (torch.randn(rows, count) * 3).to(kind)
    uniform = torch.rand(rows, dtype=torch.float64)
    temperature = torch.tensor([0.0, 0.5, 1.0, 2.0]).repeat(rows // 4)
    tokens, logprobs = kernels.choose(logits, temperature, uniform)
    monkeypatch.setattr("posttrain.engines.choose.decode_kernels", lambda: None)
    expected, of_them = choose(logits, temperature, None, uniform)
    same = tokens == expected
    assert same.float().mean() >= 0.99  # sums in another order move a boundary by about 1e-7
    torch.testing.assert_close(logprobs[same], of_them[same], rtol=0, atol=3e-6)


def test_every_path_is_made_of_vectors(kernels: decode.DecodeKernels) -> None:
    """A loop that the compiler leaves a number at a time takes 20 times as long: GCC did so for AVX2."""
    logits, x = torch.randn(4, 20_000), torch.randn(16, 576)
    packed, uniform = kernels.pack(torch.randn(1536, 576), None), torch.full((4,), 0.5)
    weight = torch.randn(1536, 576)
    pairs = {
        "choose": (lambda: kernels.choose(logits, None, uniform), lambda: logits.exp().sum(-1)),
        "silu": (
            lambda: kernels.matmul(x, packed, None, 1536, decode.SILU, None),
            lambda: F.silu(F.linear(x, weight)),
        ),
        "norm": (lambda: kernels.norm(x, 1e-5), lambda: F.rms_norm(x, (576,))),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, (ours, torchs) in pairs.items():
            assert fastest(ours) < 5 * fastest(torchs), name
    finally:
        torch.set_num_threads(threads)


def fastest(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(40):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def test_what_has_no_probability_is_never_chosen(kernels: decode.DecodeKernels) -> None:
    logits = torch.full((4, 700), float("-inf"))
    logits[:, [3, 300, 600]] = torch.tensor([0.0, -1.0, 0.5])
    uniform = torch.tensor([1e-15, 0.5, 1 - 2.0**-49, 0.999999], dtype=torch.float64)
    tokens, logprobs = kernels.choose(logits, torch.ones(4), uniform)
    assert set(tokens.tolist()) <= {3, 300, 600}
    assert tokens[0] == 3
    assert tokens[2] == 600
    expected = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    torch.testing.assert_close(logprobs, expected)


def test_many_draws_follow_the_distribution(kernels: decode.DecodeKernels) -> None:
    logits = torch.randn(600) * 2
    draws = 200_000
    uniform = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    tokens = torch.cat(
        [
            kernels.choose(logits.expand(len(u), -1).contiguous(), torch.ones(len(u)), u)[0]
            for u in uniform.split(5000)
        ]
    )
    share = tokens.bincount(minlength=600) / draws
    torch.testing.assert_close(share, logits.softmax(-1), rtol=0, atol=2.0 / draws)


def test_numbers_that_are_no_distribution_stop_the_run(kernels: decode.DecodeKernels) -> None:
    for broken in (float("nan"), float("inf")):
        logits = torch.randn(3, 300)
        logits[1, 7] = broken
        with pytest.raises(ValueError, match="not finite"):
            kernels.choose(logits, None, torch.full((3,), 0.5))
    with pytest.raises(ValueError, match="not finite"):
        kernels.choose(torch.full((1, 300), float("-inf")), None, torch.full((1,), 0.5))


def test_a_temperature_may_be_a_whole_number(kernels: decode.DecodeKernels) -> None:
    logits, uniform = torch.randn(4, 300), torch.rand(4)
    whole = kernels.choose(logits, torch.tensor([2, 0, 2, 0]), uniform)
    same = kernels.choose(logits, torch.tensor([2.0, 0.0, 2.0, 0.0]), uniform)
    assert torch.equal(whole[0], same[0])
    assert torch.equal(whole[1], same[1])


def test_what_is_not_laid_out_as_it_must_be_is_refused(kernels: decode.DecodeKernels) -> None:
    x = drawn(4, 2, 16, torch.float32)
    with pytest.raises(ValueError, match="laid out"):
        called(kernels, {**x, "keys": x["keys"].transpose(1, 2)}, 4)
    with pytest.raises(ValueError, match="laid out"):
        called(kernels, {**x, "past": x["past"].int()}, 4)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("sizes", [(1, 1), (3, 65), (64, 24), (96, 576), (301, 70)])
@pytest.mark.parametrize("biased", [True, False])
def test_products_are_those_of_float64(
    kernels: decode.DecodeKernels, sizes: tuple[int, int], biased: bool, kind: torch.dtype
) -> None:
    outputs, inputs = sizes
    g = torch.Generator().manual_seed(outputs)
    weight, scale = torch.randn(outputs, inputs, generator=g), torch.rand(inputs, generator=g)
    bias = torch.randn(outputs, generator=g) if biased else None
    packed, stored = kernels.pack(weight, scale, kind), (weight * scale).to(kind)
    for rows in (1, 2, 4, 5, 7, 8, 9, 33, 64, 65, 130):
        x, other = (torch.randn(rows, n, generator=g).to(kind) for n in (inputs, outputs))
        plain = F.linear(x.double(), stored.double(), None if bias is None else bias.double())
        near = 8 * torch.finfo(kind).eps * max(1.0, float(plain.abs().max()))
        for how, expected in (
            (decode.PLAIN, plain),
            (decode.SILU, F.silu(plain)),
            (decode.TIMES, plain * other.double()),
            (decode.PLUS, plain + other.double()),
        ):
            made = kernels.matmul(x, packed, bias, outputs, how, other)
            assert made.dtype == kind
            torch.testing.assert_close(made.double(), expected, rtol=near, atol=near)


@pytest.mark.parametrize("kind", TYPES)
def test_a_product_of_a_row_does_not_see_the_others_nor_the_threads(
    kernels: decode.DecodeKernels, kind: torch.dtype
) -> None:
    packed, x = kernels.pack(torch.randn(1500, 200), None, kind), torch.randn(90, 200).to(kind)
    other = torch.randn(90, 1500).to(kind)

    def made(rows: slice, how: int) -> Tensor:
        return kernels.matmul(x[rows], packed, None, 1500, how, other[rows])

    threads = torch.get_num_threads()
    for how in (decode.PLAIN, decode.SILU, decode.PLUS):
        torch.set_num_threads(2)
        whole = made(slice(None), how)
        torch.set_num_threads(threads)
        for rows in (1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 65, 90):
            assert torch.equal(made(slice(90 - rows, 90), how), whole[-rows:])


def test_matrices_are_packed_one_above_the_other(kernels: decode.DecodeKernels) -> None:
    weights, x = [torch.randn(20, 40), torch.randn(13, 40)], torch.randn(5, 40)
    like = (x.device, x.dtype)
    torch.testing.assert_close(
        linear(weights, None, None, like, kernels)(x), F.linear(x, torch.cat(weights)), rtol=0, atol=1e-5
    )


def test_a_file_of_another_version_is_not_used(
    kernels: decode.DecodeKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "VERSION", -1)
    decode.decode_kernels.cache_clear()
    assert decode.decode_kernels() is None
