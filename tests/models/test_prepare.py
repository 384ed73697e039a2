"""A model is made ready by one function, in one order; whatever else is made of it leaves it as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from posttrain.models import prepare as preparing
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.models.lora import Adapter, Lora
from posttrain.models.prepare import prepare
from posttrain.models.role import Role
from tests.models.small import causal, llama, scalar


def state(model: nn.Module) -> list[Any]:
    """Of each module its class, its hooks and what is written on it."""
    return [
        (type(module), len(module._forward_hooks), sorted(vars(module))) for module in model.modules()
    ] + [str(model.config)]


@pytest.mark.parametrize(
    "make",
    [
        lambda model: Role(model.base_model, model.get_output_embeddings()),
        LanguagePolicy,
        lambda model: Adapter(model.base_model, Lora(), seed=0),
    ],
    ids=["role", "policy", "adapter"],
)
def test_a_constructor_leaves_its_model_as_it_is(make: Callable[[Any], Any]) -> None:
    model = causal(llama())
    before = state(model)
    assert make(model) is not None
    assert state(model) == before


def test_a_reward_leaves_its_model_as_it_is() -> None:
    model = scalar(llama())
    before = state(model)
    assert LanguageReward(model).role.trunk is model.base_model
    assert state(model) == before


def test_the_steps_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ["use_fast_kernels", "attach", "packs", "checkpoint_activations"]
    called: list[str] = []
    for step in steps:
        monkeypatch.setattr(preparing, step, lambda _, step=step: called.append(step))
    model = causal(llama())
    assert prepare(model, adapters=True, recompute=True) is model
    assert called == steps
    called.clear()
    prepare(model)
    assert called == ["use_fast_kernels", "packs"]


def test_what_is_prepared_twice_is_as_prepared_once() -> None:
    model = prepare(causal(llama()), adapters=True)
    once = state(model)
    assert state(prepare(model, adapters=True)) == once
    assert once != state(causal(llama()))
