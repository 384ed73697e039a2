"""Layers in fewer passes say what transformers' own say, forward and backward, in float32 and in bfloat16."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from posttrain.models import fast_layers
from posttrain.models.lora import Adapter, Lora, attach, checkpoint_activations, use_adapter
from posttrain.models.packed_attention import packed_context, packs
from posttrain.models.prefix_tree import build_tree, sort_by_prefix
from posttrain.models.prepare import prepare
from posttrain.models.role import Role
from tests.kernels.paths import COMPILED, computed_by

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 288,
    "intermediate_size": 320,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 48,
    "max_position_embeddings": 64,
}
KINDS = [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config]


@pytest.fixture(autouse=True, params=COMPILED)
def path(request: pytest.FixtureRequest) -> Iterator[None]:
    with computed_by(request.param):
        yield


def made(kind: type = LlamaConfig, **more: Any) -> Any:
    torch.manual_seed(0)
    if kind is MistralConfig:
        more |= {"sliding_window": None}
    model = AutoModelForCausalLM.from_config(kind(**SIZES, **more), attn_implementation="sdpa")
    for p in model.parameters():
        p.data += 0.02 * torch.randn_like(p)
    return model


def tree() -> Any:
    g = torch.Generator().manual_seed(1)
    rows = [torch.randint(0, 300, (n,), generator=g).tolist() for n in (30, 34, 41)]
    rows = [rows[0][:12] + row[12:] for row in rows]
    order, shared = sort_by_prefix(rows)
    return build_tree([rows[i] for i in order], shared, torch.device("cpu"))


def read(trunk: Any, line: Any, short: bool = False) -> tuple[Tensor, Tensor]:
    """Hidden states of a line, and the gradient by all weights of a weighted sum of them."""
    assert packs(trunk)
    trunk.zero_grad()
    with packed_context(line), torch.autocast("cpu", dtype=torch.bfloat16, enabled=short):
        out = trunk(
            input_ids=line.tokens[None], position_ids=line.positions[None], use_cache=False
        ).last_hidden_state
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return out.detach().double(), torch.cat([p.grad.flatten() for p in trunk.parameters()]).double()


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("kind", KINDS)
def test_fast_layers_are_as_near_to_float64_as_transformers_own(kind: type) -> None:
    model, line = made(kind), tree()
    exact = read(copy.deepcopy(model).double().model, line)
    for short, most in ((False, 3e-6), (True, None)):
        plain, quick = copy.deepcopy(model).model, copy.deepcopy(model).model
        fast_layers.use_fast_kernels(quick)
        theirs, ours = read(plain, line, short), read(quick, line, short)
        for own, other, truth in zip(ours, theirs, exact, strict=True):
            assert apart(own, truth) < (most or 1.1 * apart(other, truth))


def test_a_trunk_with_fast_kernels_computes_with_other_code_and_keeps_its_names() -> None:
    model = made()
    names, plain = list(model.state_dict()), copy.deepcopy(model)
    fast_layers.use_fast_kernels(model.model)
    layer = model.model.layers[0]
    assert isinstance(layer.mlp, fast_layers._FastGate)
    assert isinstance(layer.self_attn, fast_layers._FastAttention)
    assert isinstance(layer.input_layernorm, fast_layers._FastNorm)
    assert isinstance(layer.mlp.up_proj, fast_layers._FastLinear)
    assert list(model.state_dict()) == names
    tokens = torch.arange(20)[None]
    assert torch.allclose(model(tokens).logits, plain(tokens).logits, atol=1e-5)
    assert torch.equal(
        model.generate(tokens, max_new_tokens=8, do_sample=False, pad_token_id=0),
        plain.generate(tokens, max_new_tokens=8, do_sample=False, pad_token_id=0),
    )


def test_another_activation_keeps_its_own_gate() -> None:
    model = made(hidden_act="gelu")
    plain = copy.deepcopy(model)
    fast_layers.use_fast_kernels(model.model)
    assert not isinstance(model.model.layers[0].mlp, fast_layers._FastGate)
    tokens = torch.arange(20)[None]
    assert torch.allclose(model(tokens).logits, plain(tokens).logits, atol=1e-5)


def test_adapters_and_recomputed_activations_give_the_same_gradients() -> None:
    model, line = made(), tree()
    found = []
    for quick, recompute in ((False, False), (True, False), (True, True)):
        own = copy.deepcopy(model).requires_grad_(False)
        attach(own.model)
        adapter = Adapter(own.model, Lora(rank=4), seed=3)
        for p in adapter.B.parameters():
            p.data.normal_(0, 0.02, generator=torch.Generator().manual_seed(4))
        if quick:
            fast_layers.use_fast_kernels(own.model)
        assert packs(own.model)
        if recompute:
            checkpoint_activations(own)
        with use_adapter(adapter), packed_context(line):
            out = own.model(
                input_ids=line.tokens[None], position_ids=line.positions[None], use_cache=False
            ).last_hidden_state
        out.pow(2).sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in adapter.parameters()]))
    assert apart(found[1], found[0]) < 1e-5
    assert torch.equal(found[1], found[2])


def test_tokens_behind_a_line_change_nothing_that_is_read_of_it() -> None:
    model, line = made(), tree()
    trunk = prepare(model).model
    role = Role(trunk, model.lm_head)
    assert packs(trunk)
    plain = role.hidden(line.tokens[None], line)
    loose = torch.nn.functional.pad(line.tokens, (0, 19), value=7)[None]
    where = torch.nn.functional.pad(line.positions, (0, 19), value=3)[None]
    with packed_context(line):
        behind = trunk(input_ids=loose, position_ids=where, use_cache=False).last_hidden_state
    assert behind.shape[1] == plain.shape[1] + 19
    assert bool(behind.isfinite().all())
    torch.testing.assert_close(behind[:, : plain.shape[1]], plain, rtol=1e-5, atol=1e-6)
