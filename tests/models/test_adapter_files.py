"""An adapter's directory names the base that it fits, and is the product's model there."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification, PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from posttrain.models import lora
from posttrain.models.adapter_files import MERGED_ONLY, save_adapter, trunk_hash
from posttrain.models.loading import load_causal_lm, save_causal_lm
from posttrain.models.lora import Lora
from posttrain.models.reading import Reading
from posttrain.models.roles import PolicyRoles, open_policy, open_reward
from posttrain.pipeline.store import Workspace, content_of
from tests.models.small import causal, llama, tokenizer

FIRST, SECOND = Lora(rank=3, alpha=6.0), Lora(rank=2, alpha=1.0, targets=("q_proj", "up_proj"))
IDS = torch.tensor([[7, 8, 9, 10, 11, 12]])


def shake(role: Any, seed: int) -> None:
    """As if it had been trained: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for b in role.adapter.B.values():
            b.copy_(torch.randn(b.shape, generator=generator) * 0.3)


def made(source: Path, target: Path, lora: Lora, seed: int) -> PolicyRoles:
    """A policy product as a stage writes it."""
    roles = open_policy(source, lora=lora)
    shake(roles.policy.policy, seed)
    roles.save(target)
    return roles


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits  # type: ignore[no-any-return]


def named(product: Path) -> str:
    config = json.loads((product / "adapter" / "adapter_config.json").read_text())
    return str(config["base_model_name_or_path"])


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_causal_lm(tmp_path / "base", causal(llama(), dtype=torch.float32), tokenizer())
    return tmp_path / "base"


def test_adapters_over_adapters_are_one_adapter_of_the_model_below_them_all(base: Path) -> None:
    sft, dpo, rl = (base.parent / name for name in ("sft", "dpo", "rl"))
    made(base, sft, FIRST, 1)
    made(sft, dpo, SECOND, 2)
    made(dpo, rl, FIRST, 3)
    assert [named(product) for product in (sft, dpo, rl)] == [str(base)] * 3
    for product in (sft, dpo, rl):
        whole = logits(AutoModelForCausalLM.from_pretrained(product))
        theirs = AutoPeftModelForCausalLM.from_pretrained(product / "adapter")
        torch.testing.assert_close(logits(theirs), whole, rtol=0, atol=1e-5)
        on_base = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), product / "adapter")
        torch.testing.assert_close(logits(on_base), whole, rtol=0, atol=1e-5)
        assert float((whole - logits(AutoModelForCausalLM.from_pretrained(base))).abs().max()) > 0.01


def test_adapters_of_rounded_trunks_are_one_adapter_of_the_model_as_it_was(base: Path) -> None:
    sft, rl = base.parent / "sft", base.parent / "rl"
    made(base, sft, Lora(rank=3, alpha=6.0, trunk="int8"), 1)
    note = json.loads((sft / "adapter" / "base.json").read_text())
    assert note["merged_sha256"] == trunk_hash(load_causal_lm(sft)[0].base_model)
    made(sft, rl, Lora(rank=2, alpha=1.0, trunk="bfloat16"), 2)
    assert [named(product) for product in (sft, rl)] == [str(base)] * 2
    whole = logits(AutoModelForCausalLM.from_pretrained(rl))
    theirs = AutoPeftModelForCausalLM.from_pretrained(rl / "adapter")
    torch.testing.assert_close(logits(theirs), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["policy", "reward"])
def test_saving_makes_one_merged_matrix_after_another(
    base: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made_now: list[weakref.ref[Tensor]] = []
    most: list[int] = []

    def changed(*given: Any) -> Tensor:
        tensor = original(*given)
        made_now.append(weakref.ref(tensor))
        most.append(sum(ref() is not None for ref in made_now))
        return tensor

    original = lora._changed
    roles = open_policy(base, lora=FIRST) if kind == "policy" else open_reward(base, lora=FIRST)
    monkeypatch.setattr(lora, "_changed", changed)
    if isinstance(roles, PolicyRoles):
        assert roles.policy.policy.adapter is not None
        save_adapter(base.parent / "adapter", roles.model, roles.policy.policy.adapter)
    else:
        roles.save(base.parent / "rm")
    assert len(most) == 14
    assert max(most) <= 2, "what was merged before is let go"


def test_above_a_model_whose_weights_were_trained_the_adapter_names_that_model(base: Path) -> None:
    sft, rl = base.parent / "sft", base.parent / "rl"
    roles = open_policy(base)
    with torch.no_grad():
        for p in roles.model.parameters():
            p.add_(0.01)
    roles.save(sft)
    made(sft, rl, FIRST, 1)
    assert named(rl) == str(sft)
    theirs = AutoPeftModelForCausalLM.from_pretrained(rl / "adapter")
    torch.testing.assert_close(
        logits(theirs), logits(AutoModelForCausalLM.from_pretrained(rl)), rtol=0, atol=1e-5
    )


def test_a_product_whose_weights_were_changed_since_is_a_base_of_its_own(base: Path) -> None:
    sft, rl = base.parent / "sft", base.parent / "rl"
    made(base, sft, FIRST, 1)
    changed, words = load_causal_lm(sft)
    with torch.no_grad():
        changed.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    save_causal_lm(sft, changed, words)
    made(sft, rl, SECOND, 2)
    assert named(rl) == str(sft)
    theirs = AutoPeftModelForCausalLM.from_pretrained(rl / "adapter")
    torch.testing.assert_close(
        logits(theirs), logits(AutoModelForCausalLM.from_pretrained(rl)), rtol=0, atol=1e-5
    )


def test_a_reward_models_adapter_is_read_on_the_model_it_grew_from(base: Path) -> None:
    sft, rm = base.parent / "sft", base.parent / "rm"
    made(base, sft, FIRST, 1)
    roles = open_reward(sft, lora=FIRST, seed=2)
    shake(roles.reward.role, 3)
    roles.save(rm)
    assert named(rm) == str(sft)
    theirs = AutoPeftModelForSequenceClassification.from_pretrained(rm / "adapter", num_labels=1)
    whole = AutoModelForSequenceClassification.from_pretrained(rm)
    torch.testing.assert_close(logits(theirs), logits(whole), rtol=0, atol=1e-5)


@pytest.mark.parametrize("reading", [Reading(layer=1), Reading(mean=True)], ids=["cut", "mean"])
def test_an_adapter_whose_score_a_plain_classifier_would_misread_says_merged_only(
    base: Path, reading: Reading
) -> None:
    open_reward(base, lora=FIRST, reading=reading).save(base.parent / "rm")
    assert named(base.parent / "rm") == MERGED_ONLY
    with pytest.raises(OSError, match="merged only"):
        AutoPeftModelForSequenceClassification.from_pretrained(base.parent / "rm" / "adapter", num_labels=1)


def test_where_the_base_lies_is_no_part_of_what_a_product_is(base: Path) -> None:
    elsewhere = base.parent / "elsewhere"
    elsewhere.mkdir()
    save_causal_lm(elsewhere / "base", causal(llama(), dtype=torch.float32), tokenizer())
    contents = []
    for source in (base, elsewhere / "base"):
        made(source, source.parent / "sft", FIRST, 1)
        workspace = Workspace(source.parent / "workspace")
        contents.append(content_of(workspace.files(source.parent / "sft")))
    assert contents[0] == contents[1]
    made(base, base.parent / "other", Lora(rank=3, alpha=3.0), 1)
    note = (base.parent / "other" / "adapter" / "base.json").read_text()
    assert json.loads(note)["lora_alpha"] == 3.0, "what counts of the config stands beside it"
