"""A line in one call of the attention, as on a GPU, with the kernel's contract kept by PyTorch on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.core.batch import Wants
from posttrain.models import packed_attention, varlen
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy
from posttrain.storage.token_rows import TokenRow
from tests.models.small import causal, gpt2, llama

CPU = torch.device("cpu")


def kernel(first_aligned: bool = False) -> Callable[..., Tensor]:
    """What ``varlen_attn`` is documented to do; ``first_aligned``: as FlashAttention did before 2.1."""

    def attend(
        q: Tensor, k: Tensor, v: Tensor, queries: Tensor, keys: Tensor, most_q: int, most_k: int, **how: Any
    ) -> Tensor:
        assert how["window_size"] == (-1, 0)
        assert how["enable_gqa"] == (q.shape[1] != k.shape[1])
        assert queries.dtype == keys.dtype == torch.int32
        out = []
        for at in range(len(queries) - 1):
            mine = q[queries[at] : queries[at + 1]]
            one, two = (x[keys[at] : keys[at + 1]] for x in (k, v))
            assert len(mine) <= most_q
            assert len(one) <= most_k
            one, two = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (one, two))
            last = torch.arange(len(mine)) + (0 if first_aligned else len(one) - len(mine))
            scores = torch.einsum("qhe,khe->hqk", mine, one) * (how["scale"] or mine.shape[-1] ** -0.5)
            hidden = torch.arange(len(one)) > last[:, None]
            weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
            out.append(torch.einsum("hqk,khe->qhe", weights, two))
        return torch.cat(out)

    return attend


@pytest.fixture(autouse=True)
def tried_anew() -> Iterator[None]:
    varlen._right.cache_clear()
    yield
    varlen._right.cache_clear()


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, made: Callable[..., Tensor]) -> list[int]:
    """Lines attend as they would on a GPU; what is returned grows with every call of the kernel."""
    calls: list[int] = []

    def counted(*args: Any, **how: Any) -> Tensor:
        calls.append(len(args[3]) - 1)
        return made(*args, **how)

    monkeypatch.setattr(varlen, "_kernel", lambda: counted)
    monkeypatch.setattr(packed_attention, "takes", lambda *_: True)
    return calls


def rows() -> list[TokenRow]:
    """Two groups that share a prompt, an answer that another begins with, and two rows alone."""
    draw = torch.Generator().manual_seed(0)
    words = torch.randint(5, 300, (60,), generator=draw).tolist()
    given = [words[:6] + words[10 + 5 * i : 13 + 6 * i] for i in range(4)]
    given += [given[0][:8], words[40:44] + words[1:7], words[40:44] + words[20:30], words[50:59]]
    return [TokenRow(ids=ids, mask=[False] * 4 + [True] * (len(ids) - 4)) for ids in given]


@pytest.mark.parametrize("family", [llama, gpt2])
def test_values_and_gradients_are_those_of_padded_rows(
    family: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = causal(family())
    batch = rollouts(rows(), 0)

    def evaluated(packed: bool) -> tuple[Tensor, list[Tensor]]:
        policy = LanguagePolicy(model, packed=packed)
        said = policy.evaluate(batch, Wants()).logprobs
        toward = torch.linspace(-1, 1, said.numel()).view_as(said).to(said)
        return said.detach(), list(torch.autograd.grad(said, policy.parameters_of("policy"), toward))

    plain, gradient = evaluated(packed=False)
    calls = on_a_gpu(monkeypatch, kernel())
    found, other = evaluated(packed=True)
    assert max(calls) == 8  # all rows with tokens of their own, in one call
    torch.testing.assert_close(found, plain)
    for a, b in zip(other, gradient, strict=True):
        assert float((a - b).norm()) <= 1e-6 * float(b.norm())  # transformers' norms are float32 inside


def test_a_kernel_is_used_where_it_does_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (CPU, torch.bfloat16, 16)
    monkeypatch.setattr(varlen, "_kernel", lambda: kernel())
    for way in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        varlen._right.cache_clear()
        with way:  # a reference asks first, and what is found is kept
            assert varlen._right(*asked)
    varlen._right.cache_clear()
    monkeypatch.setattr(varlen, "_kernel", lambda: kernel(first_aligned=True))
    assert not varlen._right(*asked)


def test_a_kernel_that_fails_is_not_used() -> None:
    assert not varlen._right(CPU, torch.bfloat16, 16)  # PyTorch has it for CUDA only


@pytest.mark.parametrize(
    ("device", "dtype", "width"),
    [("cpu", torch.bfloat16, 64), ("cuda", torch.float32, 64), ("cuda", torch.bfloat16, 60)],
)
def test_elsewhere_it_is_not_asked(device: str, dtype: torch.dtype, width: int) -> None:
    assert not varlen.takes(torch.device(device), dtype, width)


def test_rows_are_told_as_the_kernel_counts_them() -> None:
    told = varlen.varlen_index([(3, [0, 1, 2]), (2, [0, 3, 4])], CPU)
    assert told.queries.tolist() == [0, 3, 5]
    assert told.keys.tolist() == [0, 3, 6]
    assert told.places is not None
    assert told.places.tolist() == [0, 1, 2, 0, 3, 4]
    assert told.most == (3, 3)
    alone = varlen.varlen_index([(3, [0, 1, 2]), (2, [3, 4])], CPU)
    assert alone.places is None
