from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from posttrain.core.logit_transform import PLAIN, LogitTransform
from posttrain.core.logprobs import Head, Scored, chosen_logprobs
from tests.kernels.paths import COMPILED, computed_by

N, D, V = 13, 6, 11
CAPPED = LogitTransform(scale=2.0, cap=3.0)


def inputs(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(3)
    return {
        "hidden": torch.randn(N, D, generator=g, dtype=dtype),
        "weight": torch.randn(V, D, generator=g, dtype=dtype),
        "bias": torch.randn(V, generator=g, dtype=dtype),
        "temperature": torch.rand(N, generator=g, dtype=dtype) + 0.5,
        "chosen": torch.randint(0, V, (N,), generator=g),
        "other": torch.randn(N, D, generator=g, dtype=dtype),
    }


def plainly(
    x: dict[str, Tensor], transform: LogitTransform = PLAIN, others: LogitTransform = PLAIN
) -> Scored:
    def log_softmax(states: Tensor, how: LogitTransform) -> Tensor:
        logits = how.scale * (states @ x["weight"].T + x["bias"])
        if how.cap is not None:
            logits = how.cap * (logits / how.cap).tanh()
        return (logits / x["temperature"][:, None]).log_softmax(-1)

    log_p, log_q = log_softmax(x["hidden"], transform), log_softmax(x["other"], others).detach()
    p = log_p.exp()
    return Scored(
        log_p.gather(1, x["chosen"][:, None])[:, 0], -(p * log_p).sum(1), (p * (log_p - log_q)).sum(1)
    )


def tiled(
    x: dict[str, Tensor],
    tile: tuple[int, int],
    transform: LogitTransform = PLAIN,
    others: LogitTransform = PLAIN,
) -> Scored:
    return chosen_logprobs(
        x["hidden"],
        x["weight"],
        x["chosen"],
        bias=x["bias"],
        temperature=x["temperature"],
        transform=transform,
        against=Head(x["other"], x["weight"], x["bias"], others),
        entropy_gradient=True,
        tile=tile,
    )


@pytest.mark.parametrize("tile", [(1, 1), (1, 11), (4, 3), (13, 10), (13, 11), (100, 100)])
@pytest.mark.parametrize("transform", [PLAIN, LogitTransform(cap=1.5), LogitTransform(0.3), CAPPED])
def test_values_and_gradients_are_those_of_the_plain_formula(
    tile: tuple[int, int], transform: LogitTransform
) -> None:
    results = []
    both = transform, CAPPED if transform is not CAPPED else PLAIN
    for compute in (lambda x: plainly(x, *both), lambda x: tiled(x, tile, *both)):
        x = inputs()
        leaves = [x[name].requires_grad_() for name in ("hidden", "weight", "bias")]
        out = compute(x)
        g = torch.Generator().manual_seed(5)
        loss = sum((part * torch.randn(N, generator=g, dtype=part.dtype)).sum() for part in out)
        results.append((out, torch.autograd.grad(loss, leaves)))
    for want, got in zip(results[0][0], results[1][0], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    for want, got in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


def test_only_what_was_asked_is_given() -> None:
    x = inputs()
    out = chosen_logprobs(x["hidden"], x["weight"], x["chosen"], entropy=False)
    assert out.entropy is None
    assert out.kl is None
    out = chosen_logprobs(x["hidden"].requires_grad_(), x["weight"], x["chosen"])
    assert out.entropy is not None
    assert not out.entropy.requires_grad
    assert out.logprobs.requires_grad


@pytest.mark.parametrize("tile", [(4, 11), (4, 3)])
def test_a_model_is_exactly_zero_from_itself(tile: tuple[int, int]) -> None:
    x = inputs(torch.float32)
    head = x["weight"]
    out = chosen_logprobs(x["hidden"], head, x["chosen"], against=(x["hidden"], head, None), tile=tile)
    assert out.kl is not None
    assert not out.kl.any()


def test_a_short_type_is_computed_in_float32() -> None:
    x = inputs(torch.float32)
    short = {k: v.bfloat16() if v.is_floating_point() else v for k, v in x.items()}
    out = chosen_logprobs(short["hidden"].requires_grad_(), short["weight"], short["chosen"])
    assert out.logprobs.dtype == torch.float32
    want = (short["hidden"].float() @ short["weight"].float().T).log_softmax(-1)
    torch.testing.assert_close(out.logprobs, want.gather(1, x["chosen"][:, None])[:, 0])
    out.logprobs.sum().backward()
    assert short["hidden"].grad is not None
    assert short["hidden"].grad.dtype == torch.bfloat16


def test_the_logits_do_not_outlive_their_tile() -> None:
    kept: list[torch.Size] = []
    x = inputs()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        tiled({**x, "hidden": x["hidden"].requires_grad_()}, (4, V))
    assert kept
    assert not [shape for shape in kept if shape == (N, V) or shape == (4, V)]


def test_no_row_is_no_trouble() -> None:
    x = inputs()
    out = chosen_logprobs(x["hidden"][:0].requires_grad_(), x["weight"], x["chosen"][:0])
    out.logprobs.sum().backward()
    assert out.logprobs.shape == (0,)


def test_rows_must_match() -> None:
    x = inputs()
    with pytest.raises(ValueError, match="13 hidden states for 12"):
        chosen_logprobs(x["hidden"], x["weight"], x["chosen"][:12])


@pytest.fixture(params=[*COMPILED, "off"])
def path(request: pytest.FixtureRequest) -> Iterator[None]:
    with computed_by(request.param):
        yield


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("tile", [(4, 3), (13, 10), (100, 100), None])
@pytest.mark.parametrize("heated", [True, False])
@pytest.mark.parametrize("transform", [PLAIN, CAPPED])
def test_float32_is_near_the_plain_formula(
    tile: tuple[int, int] | None, heated: bool, transform: LogitTransform
) -> None:
    results = []
    for dtype in (torch.float64, torch.float32):
        x = {name: value.to(dtype) if name != "chosen" else value for name, value in inputs().items()}
        x["bias"][2] = -40.0  # a word that is never said
        if not heated:
            x["temperature"] = torch.ones(N, dtype=dtype)
        leaves = [x[name].requires_grad_() for name in ("hidden", "weight", "bias")]
        if dtype == torch.float64:
            out = plainly(x, transform)[:2]
        else:
            out = chosen_logprobs(
                x["hidden"],
                x["weight"],
                x["chosen"],
                bias=x["bias"],
                temperature=x["temperature"],
                transform=transform,
                entropy_gradient=True,
                tile=tile,
            )[:2]
        g = torch.Generator().manual_seed(5)
        loss = sum((part * torch.randn(N, generator=g).to(part)).sum() for part in out)
        results.append([*out, *torch.autograd.grad(loss, leaves)])
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=2e-6)


@pytest.mark.usefixtures("path")
def test_words_that_cannot_be_said_and_broken_logits() -> None:
    x = inputs(torch.float32)
    x["bias"][2] = float("-inf")
    x["chosen"][:] = 1
    bias = x["bias"].requires_grad_()
    said = chosen_logprobs(x["hidden"], x["weight"], x["chosen"], bias=bias, entropy=False)
    (by_bias,) = torch.autograd.grad(said.logprobs.sum(), bias)
    assert bool(said.logprobs.isfinite().all())
    assert by_bias[2] == 0
    x["hidden"][3] = float("nan")
    broken = chosen_logprobs(x["hidden"], x["weight"], x["chosen"], bias=bias).logprobs.isnan()
    assert broken.nonzero()[:, 0].tolist() == [3]


@pytest.mark.usefixtures("path")
def test_no_rows_say_nothing_and_move_nothing() -> None:
    x = inputs(torch.float32)
    weight = x["weight"].requires_grad_()
    out = chosen_logprobs(x["hidden"][:0], weight, x["chosen"][:0])
    out.logprobs.sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("apart", [False, True])
def test_rows_that_are_added_say_nothing(apart: bool) -> None:
    g = torch.Generator().manual_seed(0)
    count, width, words = 300, 32, 2100
    results = []
    for dtype in (torch.float64, torch.float32):
        g.manual_seed(0)
        hidden, other = (torch.randn(count, width, generator=g).to(dtype) for _ in range(2))
        weight = (torch.randn(words, width, generator=g) / 8).to(dtype)
        heat = (torch.rand(count, generator=g) + 0.5).to(dtype)
        chosen = torch.randint(0, words, (count,), generator=g)
        leaves = [hidden.requires_grad_(), weight.requires_grad_()]
        out = chosen_logprobs(
            hidden,
            weight,
            chosen,
            temperature=heat,
            against=(other, weight, None) if apart else None,
            entropy_gradient=True,
        )
        said = [one for one in out if one is not None]
        assert all(one.shape == (count,) for one in said)
        loss = sum((one * torch.randn(count, generator=g).to(dtype)).sum() for one in said)
        results.append([*said, *torch.autograd.grad(loss, leaves)])
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)
