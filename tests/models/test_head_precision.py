"""Scores in bf16 tie too often; a head is at least float32 whatever its trunk is."""

from pathlib import Path

import torch

from posttrain.models.collate import Row, rollouts
from posttrain.models.language_policy import LanguageReward
from posttrain.models.loading import load_reward_model, new_reward_model, save_causal_lm, save_reward_model
from tests.models.small import causal, llama, tokenizer

ROWS = [Row(ids=[3, 4, 5, 6], mask=[False, True, True, True]), Row(ids=[3, 7], mask=[False, True])]


def test_a_head_on_a_short_trunk_scores_in_float32(tmp_path: Path) -> None:
    save_causal_lm(tmp_path / "base", causal(llama()).bfloat16(), tokenizer())
    made, words = new_reward_model(tmp_path / "base", seed=0, dtype="bfloat16")
    save_reward_model(tmp_path / "reward", made, words)
    read, _ = load_reward_model(tmp_path / "reward", dtype="bfloat16")
    for model in (made, read):
        assert model.get_input_embeddings().weight.dtype == torch.bfloat16
        assert model.score.weight.dtype == torch.float32
        scores = LanguageReward(model).score(rollouts(ROWS, 0))
        assert scores.dtype == torch.float32
        assert not torch.equal(scores, scores.bfloat16().float())  # it has digits that bf16 has not
