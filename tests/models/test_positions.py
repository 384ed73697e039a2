"""Rows that would change what their neighbours are read as are refused, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    PhimoeConfig,
    PretrainedConfig,
)

from posttrain.core.batch import Wants
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.models.positions import UNLIMITED, context_of, row_limit, row_limit_of
from posttrain.pipeline.finding import UserError
from posttrain.storage.token_rows import TokenRow
from tests.models.families import CONTEXT, FAMILIES, GEMMA, GROUPED, LONG, causal

ORIGINAL = LONG["original_max_position_embeddings"]
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}
PLAIN = {"rope_type": "default", "rope_theta": 100.0}
TABLES: dict[str, tuple[PretrainedConfig, int]] = {
    "dynamic": (LlamaConfig(**GROUPED, rope_parameters=DYNAMIC), CONTEXT),
    "longrope": (Phi3Config(**GROUPED, original_max_position_embeddings=ORIGINAL, rope_parameters=LONG), 20),
    "longrope that scales too": (
        PhimoeConfig(**GROUPED, rope_parameters={**LONG, "short_mscale": 1.0, "long_mscale": 1.2}),
        20,
    ),
    "of one kind of layer": (
        Gemma3TextConfig(
            **GEMMA,
            layer_types=["sliding_attention", "full_attention"],
            rope_parameters={"sliding_attention": PLAIN, "full_attention": DYNAMIC},
        ),
        CONTEXT,
    ),
    "longrope of one table": (
        Phi3Config(
            **GROUPED,
            original_max_position_embeddings=ORIGINAL,
            rope_parameters={**LONG, "short_factor": LONG["long_factor"]},
        ),
        UNLIMITED,
    ),
    "yarn": (LlamaConfig(**GROUPED, rope_parameters={**DYNAMIC, "rope_type": "yarn"}), UNLIMITED),
}
FOLLOW = [name for name, (_, limit) in TABLES.items() if limit < UNLIMITED]
LEARNED = {"gpt2", "opt"}


def of(name: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(TABLES[name][0], dtype=torch.float32).eval()


@torch.no_grad()
def short_row(model: Any, beside: int) -> torch.Tensor:
    """What a model's own forward says of a short row beside one of so many tokens."""
    tokens = torch.zeros(2, beside, dtype=torch.long)
    tokens[0, :8], tokens[1] = torch.arange(3, 11), torch.arange(beside) % 40
    return model(input_ids=tokens, use_cache=False).logits[0, :8]


@pytest.mark.parametrize("name", TABLES)
def test_the_limit_is_where_the_model_itself_begins_to_read_otherwise(name: str) -> None:
    model, limit = of(name), TABLES[name][1]
    held = {key: x.clone() for key, x in model.named_buffers()}
    assert row_limit(model.base_model).tokens == limit
    assert all(torch.equal(held[key], x) for key, x in model.named_buffers())
    longest = min(limit, 2 * CONTEXT)
    alone = short_row(model, 8)
    torch.testing.assert_close(short_row(model, longest), alone, rtol=1e-4, atol=1e-5)
    if limit < UNLIMITED:
        assert float((short_row(model, longest + 1) - alone).abs().max()) > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_are_not_limited_but_by_positions_that_were_learned(family: str) -> None:
    limit = row_limit(causal(family, torch.float32).base_model)
    follows = family == "phi3"
    assert limit.follows == follows
    assert limit.tokens == (ORIGINAL if follows else CONTEXT if family in LEARNED else UNLIMITED)


@pytest.mark.parametrize("name", FOLLOW)
def test_longer_rows_are_refused_wherever_a_model_reads(name: str) -> None:
    model, limit = of(name), TABLES[name][1]
    config = TABLES[name][0]
    config.num_labels = 1
    policy = LanguagePolicy(model)
    readers = [lambda facts: policy.evaluate(facts, Wants()).logprobs]
    if name != "longrope that scales too":  # a mixture of experts, of which a scalar head says nothing new
        reward = LanguageReward(AutoModelForSequenceClassification.from_config(config).eval())
        readers.append(reward.score)
    for read in readers:
        for length in (limit, limit + 1):
            row = TokenRow(ids=[i % 40 for i in range(length)], mask=[False] * (length - 1) + [True])
            facts = rollouts([row, TokenRow(ids=[3, 4, 5], mask=[False, False, True])], 0)
            if length == limit:
                assert read(facts).isfinite().all()
                continue
            with pytest.raises(UserError, match=f"a row has {length} tokens.* at most {limit}.*max_length"):
                read(facts)


@pytest.mark.parametrize("name", FOLLOW)
def test_the_sampler_stops_where_the_table_changes(name: str) -> None:
    model, limit = of(name), TABLES[name][1]
    engine = BuiltinEngine(model)
    assert engine.context == context_of(model) == limit
    with pytest.raises(UserError, match=f"context of {limit}"):
        engine.submit([3, 4, 5], Sampling(max_tokens=limit - 2), 0)
    engine.submit([3, 4, 5], Sampling(max_tokens=limit - 3), 0)
    (said,) = engine.finished()
    row = TokenRow(ids=[3, 4, 5, *said.tokens], mask=[False] * 3 + [True] * len(said.tokens))
    assert len(row.ids) == limit
    trained = LanguagePolicy(model).evaluate(rollouts([row], 0), Wants()).logprobs[0, 2:]
    torch.testing.assert_close(trained, torch.tensor(said.logprobs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TABLES)
def test_a_directory_tells_its_limit_without_its_weights(name: str, tmp_path: Path) -> None:
    TABLES[name][0].save_pretrained(tmp_path)
    assert row_limit_of(tmp_path) == row_limit(of(name).base_model)
