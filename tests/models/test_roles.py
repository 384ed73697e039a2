"""Acceptance 5: several roles in one graph are several models, in values and in gradients."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from posttrain.core.batch import Rollouts, Wants
from posttrain.models.adapter_files import load_adapter, save_adapter
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.models.loading import new_head, save_causal_lm
from posttrain.models.lora import Adapter, Lora, checkpoint_activations, merged, use_adapter
from posttrain.models.prepare import prepare
from posttrain.models.role import Role
from posttrain.models.roles import ModelPlacement, lm_head_for, open_policy, open_reward
from posttrain.pipeline.finding import UserError
from tests.models.small import CONFIGS, causal, llama, rows, tokenizer

LORA = Lora(rank=3, alpha=6.0)
WANTS = Wants(values=True, entropy=True, entropy_gradient=True)


def shaken(adapter: Adapter, seed: int) -> Adapter:
    """As if it had been trained: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for b in adapter.B.values():
            b.copy_(torch.randn(b.shape, generator=generator, dtype=torch.float64) * 0.3)
    return adapter


def alone(model: Any, adapter: Adapter | None) -> Any:
    """A model of its own with the adapter folded in."""
    own = copy.deepcopy(model)
    own.load_state_dict({name: tensor.clone() for name, tensor in merged(model, adapter)})
    return own.requires_grad_(True)


def objective(
    policy: LanguagePolicy, reference: LanguagePolicy, reward: LanguageReward, batch: Rollouts
) -> Tensor:
    """A loss in which all four roles meet in one graph; the reference's term would move it if it could
    move.
    """
    now = policy.evaluate(batch, WANTS)
    still = reference.evaluate(batch, Wants())
    score = reward.score(batch).sum(1)
    assert now.entropy is not None
    assert now.values is not None
    assert now.bootstrap is not None
    weight = torch.linspace(-1.0, 2.0, now.logprobs.numel(), dtype=torch.float64).view_as(now.logprobs)
    ratio = ((now.logprobs - still.logprobs) * weight).tanh()
    values = (now.values - score[:, None]).square() * batch.action_mask
    return (ratio + 0.1 * now.entropy + 0.3 * values).sum() + now.bootstrap.sum() + score.square().sum()


def expected(own: Any, model: Any, adapter: Adapter) -> dict[str, Tensor]:
    """The chain rule from the gradient of a whole matrix W + s B A to those of A and B."""
    made = {}
    for key in adapter.A:
        module = own.base_model.get_submodule(key.replace("/", "."))
        grad = module.weight.grad if isinstance(module, nn.Linear) else module.weight.grad.T
        made[f"A.{key}"] = adapter.scale * adapter.B[key].detach().T @ grad
        made[f"B.{key}"] = adapter.scale * grad @ adapter.A[key].detach().T
    return made


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("family", CONFIGS)
def test_four_roles_on_one_trunk_have_the_values_and_gradients_of_four_models(
    family: str, recompute: bool
) -> None:
    model = prepare(causal(CONFIGS[family]()).requires_grad_(False), adapters=True)
    adapters = [shaken(Adapter(model.base_model, LORA, seed=s), s) for s in range(3)]
    heads = [new_head(model, seed=s) for s in (5, 6)]
    plain = [alone(model, a) for a in (*adapters, None)]
    if recompute:
        checkpoint_activations(model)
    trunk, head = model.base_model, model.get_output_embeddings()
    batch = rollouts(rows(), 1)
    shared = objective(
        LanguagePolicy(
            Role(trunk, head, adapters[0]), Role(trunk, heads[0], adapters[1]), sub_batch_tokens=60
        ),
        LanguagePolicy(Role(trunk, head)),
        LanguageReward(Role(trunk, heads[1], adapters[2])),
        batch,
    )
    shared.backward()
    own_heads = [copy.deepcopy(h).requires_grad_(True) for h in heads]
    for h in own_heads:
        h.weight.grad = None
    separate = objective(
        LanguagePolicy(plain[0], Role(plain[1].base_model, own_heads[0])),
        LanguagePolicy(plain[3].requires_grad_(False)),
        LanguageReward(Role(plain[2].base_model, own_heads[1])),
        batch,
    )
    separate.backward()
    torch.testing.assert_close(shared, separate, rtol=1e-10, atol=1e-10)
    for adapter, own in zip(adapters, plain):
        want = expected(own, model, adapter)
        assert sum(float(g.norm()) for g in want.values()) > 1e-3
        for name, p in adapter.named_parameters():
            torch.testing.assert_close(p.grad, want[name], rtol=1e-8, atol=1e-10)
    for one, two in zip(heads, own_heads):
        torch.testing.assert_close(one.weight.grad, two.weight.grad, rtol=1e-8, atol=1e-10)
    assert all(p.grad is None for p in model.parameters())


def test_the_gradient_test_sees_a_recomputation_in_the_wrong_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils.checkpoint import checkpoint

    import posttrain.models.lora as lora

    monkeypatch.setattr(lora, "_recompute", lambda f, *x: checkpoint(f, *x, use_reentrant=False))
    with pytest.raises((AssertionError, torch.utils.checkpoint.CheckpointError)):
        test_four_roles_on_one_trunk_have_the_values_and_gradients_of_four_models("llama", True)


@pytest.fixture
def sft(tmp_path: Path) -> Path:
    """An instruction-tuned model that is itself a merged LoRA product."""
    base, where = tmp_path / "base", tmp_path / "sft"
    save_causal_lm(base, causal(llama(), dtype=torch.float32), tokenizer())
    roles = open_policy(base, lora=LORA)
    shaken(roles.policy.policy.adapter, 4)  # type: ignore[arg-type]
    roles.save(where)
    return where


@pytest.mark.parametrize("lora", [None, LORA], ids=["separate", "shared"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_at_step_zero_ratio_is_exactly_one_and_kl_exactly_zero(
    sft: Path, lora: Lora | None, recompute: bool
) -> None:
    roles = open_policy(
        sft, lora=lora, critic=sft, reference=True, placement=ModelPlacement(recompute=recompute)
    )
    batch = rollouts(rows(), 1)
    wants = Wants(values=True, exact_kl=True)
    assert roles.reference is not None
    with torch.no_grad():
        before = roles.policy.evaluate(batch, wants)
        reference = roles.reference.evaluate(batch, Wants())
    now = roles.policy.evaluate(batch, wants, against=roles.reference)
    assert now.kl is not None
    assert torch.equal((now.logprobs - before.logprobs).exp(), torch.ones_like(now.logprobs))
    assert torch.equal(now.logprobs, reference.logprobs)
    assert torch.equal(now.kl, torch.zeros_like(now.kl))
    (now.logprobs.sum() + now.values.sum()).backward()  # type: ignore[union-attr]
    for name in ("policy", "critic"):
        parameters = roles.policy.parameters_of(name)
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)
    before_step = [p.clone() for p in roles.reference.policy.trunk.parameters()]
    torch.optim.SGD(roles.policy.parameters_of("policy"), lr=0.1).step()
    assert all(torch.equal(p, q) for p, q in zip(roles.reference.policy.trunk.parameters(), before_step))
    if lora is None:
        moved = roles.policy.evaluate(batch, wants, against=roles.reference)
        assert moved.kl is not None
        assert float(moved.kl.detach().sum()) > 0


@pytest.mark.parametrize("lora", [None, LORA], ids=["separate", "shared"])
def test_a_policy_product_is_a_plain_model_that_carries_its_critic(
    sft: Path, tmp_path: Path, lora: Lora | None
) -> None:
    roles = open_policy(sft, lora=lora, critic=sft, reference=True, seed=3)
    if lora is not None:
        shaken(roles.policy.policy.adapter, 1), shaken(roles.policy.critic.adapter, 2)  # type: ignore[union-attr, arg-type]
    roles.save(tmp_path / "rl")
    batch = rollouts(rows(), 1)
    now = roles.policy.evaluate(batch, Wants(values=True))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "rl")
    critic = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rl" / "critic")
    assert critic.config.num_labels == 1
    assert critic.config.pad_token_id == 1
    again = LanguagePolicy(plain, critic).evaluate(batch, Wants(values=True))
    torch.testing.assert_close(again.logprobs, now.logprobs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again.values, now.values, rtol=1e-4, atol=1e-4)
    for name, tensor in roles.weights():
        if name in dict(plain.named_parameters()):
            torch.testing.assert_close(tensor, plain.get_parameter(name))


@pytest.mark.parametrize("family", CONFIGS)
def test_peft_reads_the_adapter_and_the_adapter_is_read_back(tmp_path: Path, family: str) -> None:
    peft = pytest.importorskip("peft")
    model = causal(CONFIGS[family](), dtype=torch.float32)
    save_causal_lm(tmp_path / "base", model, tokenizer())
    prepare(model, adapters=True)
    adapter = shaken(Adapter(model.base_model, LORA, seed=0), 1)
    save_adapter(tmp_path / "adapter", model, adapter)
    role = Role(model.base_model, model.get_output_embeddings(), adapter)
    ids = torch.tensor([[7, 8, 9, 10]])
    wanted = role.head(role.hidden(ids))
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    torch.testing.assert_close(theirs(input_ids=ids).logits, wanted, rtol=1e-4, atol=1e-4)
    back, head = load_adapter(tmp_path / "adapter", model)
    assert head is None
    assert all(torch.equal(p, q) for p, q in zip(back.state_dict().values(), adapter.state_dict().values()))
    with pytest.raises(UserError, match="other weights"):
        load_adapter(tmp_path / "adapter", causal(CONFIGS[family](), seed=9, dtype=torch.float32))


def test_a_critic_grows_on_the_trunk_from_a_reward_model_made_there(sft: Path, tmp_path: Path) -> None:
    made = open_reward(sft, lora=LORA, seed=2)
    shaken(made.reward.role.adapter, 8)  # type: ignore[arg-type]
    made.save(tmp_path / "rm")
    batch = rollouts(rows(), 1)
    wanted = made.reward.score(batch)
    roles = open_policy(sft, lora=LORA, critic=tmp_path / "rm", reference=True)
    assert roles.policy.critic is not None
    assert roles.policy.critic.trunk is roles.model.base_model
    # the critic begins as the reward model: its value after the last word is the score
    bootstrap = roles.policy.evaluate(batch, Wants(values=True)).bootstrap
    torch.testing.assert_close(bootstrap, wanted.sum(1))
    separate = open_policy(sft, critic=tmp_path / "rm").policy.evaluate(batch, Wants(values=True)).bootstrap
    torch.testing.assert_close(separate, wanted.sum(1), rtol=1e-5, atol=1e-5)


def test_a_reward_model_keeps_its_scores_when_trained_without_adapters(sft: Path, tmp_path: Path) -> None:
    made = open_reward(sft, seed=2)
    made.save(tmp_path / "rm")
    batch = rollouts(rows(), 1)
    again = open_reward(tmp_path / "rm")
    assert torch.equal(again.reward.score(batch), made.reward.score(batch))


@pytest.mark.parametrize("lora", [None, LORA])
def test_a_reward_model_speaks_as_the_model_it_grew_from_until_it_moves(
    sft: Path, tmp_path: Path, lora: Lora | None
) -> None:
    batch = rollouts(rows(), 0)
    reward = open_reward(sft, lora=lora, seed=2, placement=ModelPlacement(dtype="float64"))
    some = torch.arange(len(batch)) % 2 == 0
    grown = (
        open_policy(sft, placement=ModelPlacement(dtype="float64")).policy.evaluate(batch, Wants()).logprobs
    )
    scores, said = reward.reward.score_and_logprobs(batch, lm_head_for(reward, sft), some)
    assert torch.equal(scores, reward.reward.score(batch))
    torch.testing.assert_close(said, grown * some[:, None], rtol=0, atol=1e-12)
    said.sum().backward()
    moved = [p for p in reward.reward.parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert moved, "the likelihood reaches what the reward model learns with"
    if lora is None:
        reward.save(tmp_path / "rm")
        with pytest.raises(UserError, match="reward model"):
            lm_head_for(open_reward(tmp_path / "rm"), tmp_path / "rm")


def test_what_is_worn_is_taken_off_again() -> None:
    model, ids = prepare(causal(llama()), adapters=True), torch.tensor([[3, 4, 5, 6]])
    one, two = (shaken(Adapter(model.base_model, LORA, seed=s), s) for s in (1, 2))

    def said() -> Tensor:
        with torch.no_grad():
            return model(ids).logits

    bare = said()
    with use_adapter(one):
        dressed = said()
        with use_adapter(two):
            other = said()
        with use_adapter(None):
            assert torch.equal(said(), bare)
        assert torch.equal(said(), dressed)
        with pytest.raises(RuntimeError), use_adapter(two):
            raise RuntimeError
    assert torch.equal(said(), bare)
    assert not torch.equal(dressed, bare)
    assert not torch.equal(dressed, other)


def test_unknown_targets_and_ranks_are_named() -> None:
    with pytest.raises(UserError, match="q_projj"):
        Adapter(causal(llama()).base_model, Lora(targets=("q_projj",)), seed=0)
    with pytest.raises(UserError, match="rank=0"):
        Lora(rank=0)
