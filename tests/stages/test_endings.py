"""What is learned from comparisons: answers as they ended, as sure as their votes, without ties."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain.models.chat import Chat
from posttrain.stages.fitting import judged, pairs
from posttrain.stages.labels import _with_endings
from posttrain.storage.preference_store import PreferenceStore


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("rejected", [True, False])
def test_each_side_of_a_comparison_ends_as_it_ended(
    chosen: bool, rejected: bool, letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    chat, kept = Chat(letters), PreferenceStore(tmp_path)
    row = {
        "id": "1",
        "prompt": [{"role": "user", "content": "who"}],
        "chosen": [{"role": "assistant", "content": "abc"}],
        "rejected": [{"role": "assistant", "content": "de"}],
        "chosen_ended": chosen,
        "rejected_ended": rejected,
    }
    pairs(chat, [row], 64, kept)
    assert [side.ids[-1] in chat.stop_ids for side in kept[0].rows] == [chosen, rejected]
    spoken = [[token for token, own in zip(side.ids, side.mask, strict=True) if own] for side in kept[0].rows]
    for tokens, text, ended in zip(spoken, ("abc", "de"), (chosen, rejected), strict=True):
        assert chat.decode(tokens) == text
        assert (tokens[-1] in chat.stop_ids) == ended
        assert len(tokens) == len(text) + ended


def test_comparisons_from_outside_ended_by_themselves(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    chat, kept = Chat(letters), PreferenceStore(tmp_path)
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


def votes(choices: str, margins: Sequence[float]) -> list[dict[str, Any]]:
    """One annotator a letter: a, b, or - for a tie."""
    said = {"a": ("one", "two"), "b": ("two", "one"), "-": ("one", "two")}
    return [
        {
            "id": "1",
            "prompt": [{"role": "user", "content": "who"}],
            "chosen": [{"role": "assistant", "content": said[choice][0]}],
            "rejected": [{"role": "assistant", "content": said[choice][1]}],
            "tie": choice == "-",
            "margin": margin,
        }
        for choice, margin in zip(choices, margins, strict=True)
    ]


def test_a_pair_is_as_sure_as_its_votes_and_a_tie_is_dropped_and_counted(
    letters: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    chat, kept = Chat(letters), PreferenceStore(tmp_path)
    assert pairs(chat, votes("-a-b", [0.0] * 4), 64, kept)["ties"] == 1
    assert len(kept) == 0
    assert pairs(chat, votes("bab", [0.5, 0.2, 0.0]), 64, kept)["ties"] == 0
    past = judged([kept[0]], chat.pad_id)
    assert chat.decode(past.rollouts.actions[0][past.rollouts.action_mask[0]].tolist()) == "two"
    assert past.rank.tolist() == [0, 1]
    assert past.confidence.tolist() == pytest.approx([2.5 / 4] * 2)
    assert past.margin.tolist() == pytest.approx([0.1, 0.0])
