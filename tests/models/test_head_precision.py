"""What is held in a short type and what is not: heads are float32, and only what stands still is short."""

from pathlib import Path

import pytest
import torch

from posttrain.core.batch import Wants
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguageReward
from posttrain.models.loading import (
    load_causal_lm,
    load_reward_model,
    save_causal_lm,
    save_reward_model,
    scalar_model,
)
from posttrain.models.roles import ModelPlacement, open_policy
from posttrain.storage.token_rows import TokenRow
from tests.models.small import CONFIGS, causal, llama, tokenizer

ROWS = [TokenRow(ids=[3, 4, 5, 6], mask=[False, True, True, True]), TokenRow(ids=[3, 7], mask=[False, True])]


def test_a_head_on_a_short_trunk_scores_in_float32(tmp_path: Path) -> None:
    save_causal_lm(tmp_path / "base", causal(llama()).bfloat16(), tokenizer())
    base, words = load_causal_lm(tmp_path / "base", dtype="bfloat16")
    made = scalar_model(base, words, seed=0)
    save_reward_model(tmp_path / "reward", made, words)
    read, _ = load_reward_model(tmp_path / "reward", dtype="bfloat16")
    for model in (made, read):
        assert model.get_input_embeddings().weight.dtype == torch.bfloat16
        assert model.score.weight.dtype == torch.float32
        scores = LanguageReward(model).score(rollouts(ROWS, 0))
        assert scores.dtype == torch.float32
        assert not torch.equal(scores, scores.bfloat16().float())  # it has digits that bf16 has not


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_reference_that_holds_short_matrices_says_what_the_policy_says(family: str, tmp_path: Path) -> None:
    save_causal_lm(tmp_path, causal(CONFIGS[family](), dtype=torch.float32), tokenizer())
    roles = open_policy(tmp_path, reference=True, placement=ModelPlacement(compute="bfloat16"))
    assert roles.reference is not None
    held = {p.dtype for p in roles.reference.policy.trunk.parameters() if p.dim() == 2}
    assert held == {torch.bfloat16, torch.float32}  # embeddings are no products
    assert {p.dtype for p in roles.policy.policy.trunk.parameters()} == {torch.float32}
    said = [
        policy.evaluate(rollouts(ROWS, 0), Wants(entropy=False)).logprobs
        for policy in (roles.policy, roles.reference)
    ]
    assert torch.equal(*said)
