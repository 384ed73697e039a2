"""While a stage samples, its line says how many answers there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from posttrain.core.seeds import derive
from posttrain.engines.base import Completion, Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.chat import Chat
from posttrain.rewards.base import all_scored
from posttrain.rollouts import sample
from posttrain.storage.chunks import Chunks

SAMPLING = Sampling(temperature=0.7, max_tokens=8)
PROMPTS = [{"prompt": [{"role": "user", "content": text}]} for text in ("Hi", "Who?", "a", "b", "c")]


class Watched(BuiltinEngine):
    """Reads the note each time before the next answer is finished."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.texts: list[str] = []
        self.noted: Callable[[], str] | None = None

    def note(self, text: Callable[[], str]) -> None:
        self.noted = text

    def finished(self, watch: Any = None) -> Iterator[Completion]:
        for completion in super().finished(watch):
            assert self.noted is not None
            self.texts.append(self.noted())
            yield completion


class ByLength:
    def score(self, episodes: Any) -> Any:
        return all_scored(torch.tensor([float(len(one.response)) for one in episodes]), "length")


@pytest.mark.parametrize("scored", [False, True])
def test_the_answers_of_all_chunks_are_counted(
    scored: bool, small_llama: Any, letters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "ANSWERS", 6)  # two prompts a chunk
    engine, chat, chunks = Watched(small_llama), Chat(letters), Chunks(name="final")
    if scored:
        sample.scored_groups(
            engine, chat, PROMPTS, ByLength(), SAMPLING, 3, (0, "x"), chunks=chunks, note=engine.note
        )
    else:
        asked, _ = sample.encode_prompts(chat, PROMPTS, 64)
        sample.sample_in_chunks(
            engine, chat, asked, SAMPLING, lambda row: derive(0, "x", row), 3, chunks=chunks, note=engine.note
        )
    assert engine.texts == [f"final: {done} of 15 answers" for done in range(15)]
    assert engine.noted is not None
    assert engine.noted() == "final: 15 of 15 answers"
