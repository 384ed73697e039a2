"""Pretraining text beside reinforcement: other text at every update, until all was read."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.models.chat import Chat
from posttrain.models.language_policy import LanguagePolicy
from posttrain.pipeline.finding import UserError
from posttrain.stages.mixing_in import mixing_in


def test_every_text_is_read_once_before_any_comes_again(
    small_llama: Any, letters: PreTrainedTokenizerFast
) -> None:
    texts = ["one", "two", "three", "four", "five", "six"]
    rows = [{"prompt": "", "completion": text} for text in texts]
    chat = Chat(letters)
    of = mixing_in(LanguagePolicy(small_llama), chat, rows, 0.25, (2, 3))
    read = []
    for update in range(6):
        part = of(update)
        assert part.coef == 0.25
        said = part.past.rollouts
        assert len(said) == 2
        for actions, mask in zip(said.actions, said.action_mask, strict=True):
            read.append(chat.decode(actions[mask].tolist()))
    assert sorted(read[:6]) == sorted(read[6:]) == sorted(texts)
    assert read[:6] != read[6:]


def test_without_text_it_is_refused(small_llama: Any, letters: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="no pretraining text"):
        mixing_in(LanguagePolicy(small_llama), Chat(letters), [], 1.0, (2, 0))
