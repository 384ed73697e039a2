"""Pairs of answers, scored by a reward model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posttrain.models.chat import Chat
from posttrain.models.language_policy import LanguageReward
from posttrain.models.loading import load_reward_model
from posttrain.models.prepare import prepare
from posttrain.pipeline.stage import Machine
from posttrain.rollouts.encode import encode_answer, scores


def scored(model: Path, pairs: Sequence[Mapping[str, Any]], machine: Machine) -> list[tuple[float, float]]:
    """Scores of ``a`` and ``b`` of each pair by the reward model in a directory."""
    loaded, tokenizer = load_reward_model(model, device=machine.device)
    chat = Chat(tokenizer)
    rows = [
        encode_answer(
            chat, pair["prompt"], [{"role": "assistant", "content": pair[side]}], pair[f"ended_{side}"]
        )
        for pair in pairs
        for side in ("a", "b")
    ]
    values = scores(LanguageReward(prepare(loaded)), rows, chat.pad_id, machine.micro_batch_tokens).tolist()
    return list(zip(values[::2], values[1::2], strict=True))
