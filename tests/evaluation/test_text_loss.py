"""The loss on plain text: nats a token, over what fits into the context."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from posttrain.evaluation.text_loss import text_loss


def row(length: int) -> dict[str, str]:
    return {"prompt": "", "completion": ("the cat sat. " * 9)[:length]}


def test_it_is_the_mean_over_tokens_of_all_texts_that_fit(
    small_llama: Any, letters: PreTrainedTokenizerFast
) -> None:
    context = small_llama.config.max_position_embeddings
    fitting = [row(5), row(30), row(context - 1)]  # and one token that begins each
    total, tokens = 0.0, 0
    for one in fitting:
        text = letters(one["completion"], add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[letters.bos_token_id, *text]])
        with torch.no_grad():
            logp = small_llama(ids).logits[0, :-1].double().log_softmax(-1)
        total -= float(logp.gather(-1, ids[0, 1:, None]).sum())
        tokens += len(text)
    for limit in (20, 1000):
        found = text_loss(small_llama, letters, [*fitting, row(context)], limit)
        assert found == pytest.approx(total / tokens, rel=1e-5)
    with pytest.raises(ValueError, match="none of 1 texts fits"):
        text_loss(small_llama, letters, [row(context)], 100)
