"""Models that scale or cap their logits: what is computed of them is what transformers' own logits say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from posttrain.core.batch import Wants
from posttrain.core.logit_transform import LogitTransform
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models import head
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.pipeline.finding import UserError
from posttrain.storage.token_rows import TokenRow
from tests.models.families import FAMILIES, causal, double

TRANSFORMS = {
    "gemma2": LogitTransform(cap=2.0),
    "granite": LogitTransform(0.25),
    "cohere": LogitTransform(0.25),
}
ROWS = [
    TokenRow(ids=[3, 4, 5, 6, 7, 8], mask=[False, False, True, True, True, True], temperature=0.75),
    TokenRow(ids=[3, 4, 9, 10], mask=[False, True, True, True], temperature=1.0),
]


def by_transformers(model: Any, other: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities, entropy and KL of each action, row by row."""
    found = []
    for row in ROWS:
        ids, mask = torch.tensor([row.ids]), torch.tensor(row.mask[1:])
        log_p = (model(ids).logits[0, :-1] / row.temperature).log_softmax(-1)[mask]
        log_q = (other(ids).logits[0, :-1] / row.temperature).log_softmax(-1)[mask].detach()
        p = log_p.exp()
        chosen = log_p.gather(1, ids[0, 1:][mask][:, None])[:, 0]
        found.append(torch.stack([chosen, -(p * log_p).sum(-1), (p * (log_p - log_q)).sum(-1)]))
    return tuple(torch.cat(found, 1))  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("family", TRANSFORMS)
def test_values_and_gradients_are_those_of_transformers_own_logits(family: str, dtype: torch.dtype) -> None:
    model, other = causal(family, dtype), causal(family, dtype, seed=1)
    facts, wants = rollouts(ROWS, 0), Wants(exact_kl=True, entropy_gradient=True)
    with torch.no_grad():
        assert float(model(facts.context["tokens"]).logits.std()) > 0.2
    results = []
    for ours in (False, True):
        model.zero_grad()
        with double():
            if ours:
                now = LanguagePolicy(model).evaluate(facts, wants, LanguagePolicy(other))
                said = [x[facts.action_mask] for x in (now.logprobs, now.entropy, now.kl) if x is not None]
            else:
                said = list(by_transformers(model, other))
            loss = sum((k + 1) * (x * torch.linspace(1, 2, len(x)).to(x)).sum() for k, x in enumerate(said))
            loss.backward()
        results.append([*said, *(p.grad for p in model.parameters() if p.grad is not None)])
    near = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-4}
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got, want, **near)


@pytest.mark.parametrize("family", TRANSFORMS)
def test_the_sampler_says_the_same(family: str) -> None:
    model = causal(family, torch.float32)
    engine = BuiltinEngine(model)
    engine.submit([3, 4, 5], Sampling(max_tokens=6, temperature=0.75), 1)
    (said,) = engine.finished()
    row = TokenRow(ids=[3, 4, 5, *said.tokens], mask=[False] * 3 + [True] * 6, temperature=0.75)
    trained = LanguagePolicy(model).evaluate(rollouts([row], 0), Wants()).logprobs[0, 2:]
    torch.testing.assert_close(trained, torch.tensor(said.logprobs), rtol=1e-4, atol=1e-5)


def test_words_on_the_trunk_of_a_reward_model_are_capped_too() -> None:
    policy = causal("gemma2", torch.float32)
    config = FAMILIES["gemma2"]()
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model.base_model.load_state_dict(policy.base_model.state_dict())
    facts = rollouts(ROWS, 0)
    with torch.no_grad():
        _, said = LanguageReward(model).score_and_logprobs(
            facts, policy.get_output_embeddings(), torch.ones(2) > 0
        )
        wanted = LanguagePolicy(policy).evaluate(facts, Wants()).logprobs
    torch.testing.assert_close(said, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", TRANSFORMS)
def test_what_the_config_says_is_read_and_anything_else_refused(
    family: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, transform = FAMILIES[family](), TRANSFORMS[family]
    assert head.transform_of(config) == transform
    if family == "gemma2":  # as they come: a cap far above the quiet logits of four tokens
        config.final_logit_softcapping = 30.0
    config.initializer_range = 0.02
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    head.check_head(model, family)
    monkeypatch.setattr(head, "transform_of", lambda config: LogitTransform())
    with pytest.raises(UserError, match="otherwise than by one matrix"):
        head.check_head(model, family)
