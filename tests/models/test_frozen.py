"""A trunk in fewer bits reads what it holds, passes exact gradients on, and is saved as it was."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.core.batch import Rollouts, Wants
from posttrain.cost.sizes import Size, Tokens
from posttrain.cost.work import ModelWork
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.metrics import flat
from posttrain.models import frozen
from posttrain.models.collate import rollouts
from posttrain.models.frozen import opened_copy
from posttrain.models.language_policy import LanguagePolicy
from posttrain.models.loading import load_causal_lm, save_causal_lm
from posttrain.models.lora import Adapter, Lora
from posttrain.models.prepare import prepare
from posttrain.models.roles import ModelPlacement, PolicyRoles, open_policy, open_reward
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import HeldIn
from posttrain.storage.token_rows import TokenRow
from tests.models.small import CONFIGS, causal, llama, rows, tokenizer

CODES = torch.linspace(-1, 1, 16)


def fake_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bits in blocks of 64, as bitsandbytes is asked for them, with other steps."""

    def quantize_4bit(x: Tensor, *, quant_type: str, compress_statistics: bool) -> tuple[Tensor, Any]:
        assert (quant_type, compress_statistics) == ("nf4", True)
        blocks = torch.nn.functional.pad(x.flatten(), (0, -x.numel() % 64)).view(-1, 64)
        most = blocks.abs().amax(1, keepdim=True).clamp_min(1e-12)
        codes = (blocks / most - CODES[:, None, None]).abs().argmin(0).flatten().to(torch.uint8)
        return (codes[::2] << 4 | codes[1::2])[:, None], SimpleNamespace(shape=x.shape, most=most)

    def dequantize_4bit(held: Tensor, state: Any) -> Tensor:
        codes = torch.stack([held[:, 0] >> 4, held[:, 0] & 15], 1).view(-1, 64)
        return (CODES[codes.long()] * state.most).flatten()[: state.shape.numel()].view(state.shape)

    fake = SimpleNamespace(quantize_4bit=quantize_4bit, dequantize_4bit=dequantize_4bit)
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(functional=fake))
    monkeypatch.setattr(frozen, "_bitsandbytes", lambda: fake)


@pytest.fixture
def base(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A model published in bfloat16, as the first stage writes it: in float32."""
    model = causal(CONFIGS[getattr(request, "param", "llama")](), dtype=torch.bfloat16).float()
    save_causal_lm(tmp_path / "base", model, tokenizer())
    return tmp_path / "base"


def opened(base: Path, trunk: HeldIn, **more: Any) -> PolicyRoles:
    """As if it had been trained: B is no longer zero."""
    roles = open_policy(base, lora=Lora(rank=3, alpha=6.0, trunk=trunk), **more)
    shake(roles.policy.policy.adapter)
    return roles


def shake(adapter: Adapter | None) -> None:
    assert adapter is not None
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for b in adapter.B.values():
            b.copy_(torch.randn(b.shape, generator=generator) * 0.1)


def thought(policy: LanguagePolicy, batch: Rollouts) -> tuple[Tensor, list[Tensor]]:
    """Log-probabilities, and what the policy would learn from them."""
    now = policy.evaluate(batch, Wants()).logprobs
    parameters = policy.parameters_of("policy")
    weight = torch.linspace(-1.0, 2.0, now.numel()).view_as(now)
    return now.detach(), list(torch.autograd.grad((now * weight).sum(), parameters))


def test_a_model_published_in_bfloat16_is_held_exactly(base: Path) -> None:
    batch = rollouts(rows(), 1)
    whole, short = opened(base, "float32"), opened(base, "bfloat16")
    assert whole.metrics == {}
    assert flat(short.metrics) == {"trunk_rounding": 0.0}
    held = {p.dtype for name, p in short.model.named_parameters() if name.endswith("proj.weight")}
    assert held == {torch.bfloat16}
    assert short.policy.policy.head.weight.dtype == torch.float32
    (said, grads), (wanted, expected) = thought(short.policy, batch), thought(whole.policy, batch)
    assert torch.equal(said, wanted)
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))
    assert all(g.dtype == torch.float32 for g in grads)


@pytest.mark.parametrize("base", CONFIGS, indirect=True)
@pytest.mark.parametrize("trunk", ["bfloat16", "int8", "nf4"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_what_is_read_and_learned_is_that_of_the_held_numbers(
    base: Path, trunk: HeldIn, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_bitsandbytes(monkeypatch)
    batch = rollouts(rows(), 1)
    roles = opened(base, trunk, placement=ModelPlacement(recompute=recompute))
    model = prepare(opened_copy(open_policy(base, lora=Lora(trunk=trunk)).model), adapters=True)
    plain = LanguagePolicy(
        type(roles.policy.policy)(
            model.base_model,
            model.get_output_embeddings(),
            Adapter(model.base_model, Lora(rank=3, alpha=6.0), seed=0),
        )
    )
    shake(plain.policy.adapter)
    (said, grads), (wanted, expected) = thought(roles.policy, batch), thought(plain, batch)
    torch.testing.assert_close(said, wanted, rtol=1e-5, atol=1e-5)
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    lost = roles.metrics["trunk_rounding"].number
    assert {"bfloat16": lost == 0, "int8": 1e-3 < lost < 1e-2, "nf4": 0.05 < lost < 0.15}[trunk]


@pytest.mark.parametrize("trunk", ["bfloat16", "int8"])
def test_no_opened_matrix_is_kept_for_the_backward_pass(base: Path, trunk: HeldIn) -> None:
    roles, batch = opened(base, trunk), rollouts(rows(), 1)
    mlp = roles.model.model.layers[0].mlp
    matrices = {one.weight.shape for one in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)}
    kept: list[torch.Size] = []

    def packed(x: Tensor) -> Tensor:
        kept.append(x.shape)
        return x

    with torch.autograd.graph.saved_tensors_hooks(packed, lambda x: x):
        roles.policy.evaluate(batch, Wants())
    assert kept
    assert not matrices & {shape for shape in kept if len(shape) == 2}


def test_a_small_update_of_an_earlier_stage_outlives_the_rounding() -> None:
    """To the nearest of 8 bits it would vanish whole: every number would be the one before that update."""
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(512, 512, generator=generator).bfloat16().float()
    change = torch.outer(*torch.randn(2, 512, generator=generator)) * before.abs() * 1e-4
    near = (before + change).bfloat16().float() - before
    kept = frozen._rounded(before + change, 3).float() - before

    def share(x: Tensor) -> float:
        weight = change / before.abs().square()  # relative to the rounding of each number
        return float((x * weight).sum() / (change * weight).sum())

    assert share(near) < 0.7
    assert 0.9 < share(kept) < 1.1
    assert torch.equal(frozen._rounded(before, 3).float(), before)


@pytest.mark.parametrize("trunk", ["bfloat16", "int8"])
def test_what_is_saved_is_the_model_as_it_was_with_the_adapter(
    base: Path, trunk: HeldIn, tmp_path: Path
) -> None:
    model, _ = load_causal_lm(base)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.001)  # no longer numbers of 8 bits
    save_causal_lm(base, model, tokenizer())
    for kind in ("float32", trunk):
        opened(base, kind).save(tmp_path / kind)  # type: ignore[arg-type]
    both = [load_causal_lm(tmp_path / kind)[0].state_dict() for kind in ("float32", trunk)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])
    assert opened(base, trunk).metrics["trunk_rounding"].number > 1e-4


@pytest.mark.parametrize("base", CONFIGS, indirect=True)
def test_the_sampler_has_the_numbers_of_the_trainer(base: Path) -> None:
    roles = opened(base, "int8")
    engine = BuiltinEngine(roles.model)
    engine.load(roles.weights(), 1)
    prompt = [5, 6, 7]
    engine.submit(prompt, Sampling(max_tokens=12), seed=3)
    said = next(iter(engine.finished()))
    row = TokenRow(ids=[*prompt, *said.tokens], mask=[False] * 3 + [True] * len(said.tokens), temperature=1.0)
    read = roles.policy.evaluate(rollouts([row], 1), Wants()).logprobs[0, 2:]
    torch.testing.assert_close(read.detach(), torch.tensor(said.logprobs), rtol=1e-4, atol=1e-4)


def test_a_reward_model_made_on_such_a_trunk_shares_it(base: Path, tmp_path: Path) -> None:
    short, whole = Lora(rank=2, trunk="bfloat16"), Lora(rank=2)
    reward = open_reward(base, lora=short)
    shake(reward.reward.role.adapter)
    reward.save(tmp_path / "rm")
    assert flat(reward.metrics) == {"trunk_rounding": 0.0}
    roles = open_policy(base, lora=short, critic=tmp_path / "rm")
    assert roles.policy.critic is not None
    assert roles.policy.critic.trunk is roles.model.base_model
    alone = open_policy(base, lora=whole, critic=tmp_path / "rm")
    assert alone.policy.critic is not None
    assert alone.policy.critic.trunk is not alone.model.base_model
    roles.save(tmp_path / "rl")
    assert (tmp_path / "rl" / "critic" / "adapter").is_dir()


def test_a_critic_with_a_trunk_of_its_own_is_held_too(base: Path, tmp_path: Path) -> None:
    open_reward(base, seed=5).save(tmp_path / "rm")
    roles = open_policy(base, lora=Lora(rank=2, trunk="int8"), critic=tmp_path / "rm", reference=True)
    assert roles.policy.critic is not None
    assert any(name.endswith("weight_int8") for name, _ in roles.policy.critic.trunk.named_buffers())
    now = roles.policy.evaluate(
        rollouts(rows(), 1), Wants(values=True, exact_kl=True), against=roles.reference
    )
    assert now.kl is not None
    assert float(now.kl.detach().abs().max()) == 0.0
    roles.save(tmp_path / "rl")


def test_a_type_that_is_not_there_is_refused_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    with pytest.raises(UserError, match=r"pip install 'posttrain\[bitsandbytes\]'"):
        Lora(trunk="nf4")
    with pytest.raises(UserError, match="expected float32, bfloat16, int8, nf4"):
        Lora(trunk="int4")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_bitsandbytes_itself(base: Path, device: str) -> None:
    pytest.importorskip("bitsandbytes")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    if device == "cpu":
        with pytest.raises(UserError, match=r"came back 0\.\d+ of its size away from what was given"):
            opened(base, "nf4")  # matrices of a few hundred numbers: a fault of bitsandbytes 0.50.2 on CPUs
    config = llama()
    config.hidden_size, config.intermediate_size = 64, 128
    save_causal_lm(base, causal(config, dtype=torch.float32), tokenizer())
    roles = opened(base, "nf4", placement=ModelPlacement(device=device))
    assert 0.05 < roles.metrics["trunk_rounding"].number < 0.15
    matrix = roles.model.model.layers[0].mlp.up_proj
    assert matrix.weight_nf4.dtype == torch.uint8
    assert matrix.weight_nf4.numel() == matrix.opened().numel() / 2
    said, grads = thought(roles.policy, rollouts(rows(), 1))
    assert said.isfinite().all()
    assert all(g.isfinite().all() for g in grads)


@pytest.mark.parametrize("trunk", ["float32", "bfloat16", "int8", "nf4"])
def test_the_estimate_counts_what_is_held(trunk: HeldIn, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_bitsandbytes(monkeypatch)
    config = llama()
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 128, 512, 3
    model = causal(config, dtype=torch.float32)
    count = sum(p.numel() for p in model.parameters())
    size = Size(parameters=count, layers=3, width=128, cached=64, vocabulary=config.vocab_size)
    if trunk != "float32":
        frozen.hold(model, trunk, "cpu", lambda: copy.deepcopy(model))
    tensors = [*model.parameters(), *(b for n, b in model.named_buffers() if "weight" in n)]
    bytes_held = sum(x.numel() * x.element_size() for x in tensors)
    assert size.held(trunk) == pytest.approx(bytes_held, rel=0.06)
    adapter = Adapter(model.base_model, Lora(rank=4), seed=0)
    numbers = sum(p.numel() for p in adapter.parameters())
    assert size.adapters(4) == pytest.approx(numbers, rel=0.15)
    learner = ModelWork(size=size, learned=Tokens(1, 1), adapters=Lora(rank=4, trunk=trunk))
    # Adam has two numbers, a gradient one
    assert learner.weights_bytes("float32") == pytest.approx(bytes_held + 16 * numbers, rel=0.06)
