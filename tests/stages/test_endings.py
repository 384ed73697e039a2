"""An answer that a limit cut is learned from as it happened: without the token that ends a turn."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.models.chat import Chat
from posttrain.models.said_on_disk import SaidOnDisk
from posttrain.stages.fitting import pairs
from posttrain.stages.labels import _with_endings


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("rejected", [True, False])
def test_each_side_of_a_comparison_ends_as_it_ended(
    chosen: bool, rejected: bool, letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    chat, kept = Chat(letters), SaidOnDisk(tmp_path)
    row = {
        "id": "1",
        "prompt": [{"role": "user", "content": "who"}],
        "chosen": [{"role": "assistant", "content": "abc"}],
        "rejected": [{"role": "assistant", "content": "de"}],
        "chosen_ended": chosen,
        "rejected_ended": rejected,
    }
    pairs(chat, [row], 64, kept)
    spoken = [[token for token, own in zip(side.ids, side.mask, strict=True) if own] for side in kept[0].rows]
    for tokens, text, ended in zip(spoken, ("abc", "de"), (chosen, rejected), strict=True):
        assert chat.decode(tokens) == text
        assert (tokens[-1] in chat.stop_ids) == ended
        assert len(tokens) == len(text) + ended


def test_comparisons_from_outside_ended_by_themselves(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    chat, kept = Chat(letters), SaidOnDisk(tmp_path)
    sides = {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    pairs(chat, [{"id": "1", "prompt": [{"role": "user", "content": "who"}], **sides}], 64, kept)
    assert all(side.ids[-1] in chat.stop_ids for side in kept[0].rows)


@pytest.mark.parametrize("choice", ["a", "b", "tie"])
def test_labels_say_of_each_side_how_it_ended(choice: str) -> None:
    pair = {"id": "1", "a": "yes", "b": "no", "ended_a": True, "ended_b": False}
    first, second = ("no", "yes") if choice == "b" else ("yes", "no")
    row = {"id": "1", "choice": choice, "chosen": first, "rejected": second}
    (made,) = _with_endings([row], [pair])
    ended = {made["chosen"]: made["chosen_ended"], made["rejected"]: made["rejected_ended"]}
    assert ended == {"yes": True, "no": False}
